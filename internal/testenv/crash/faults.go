//go:build unix

package crash

import (
	"context"
	"slices"

	"github.com/vigie-dev/vigie/internal/fault"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// breakage is one thing that goes wrong in a round.
type breakage struct {
	name string
	// step kills the service at a named step of its own, the nth time.
	service string
	step    fault.Step
	// smallDisk puts the data folder on a file system that can be filled.
	smallDisk bool
	// before, if any, runs when the topics are there and no service is.
	before func(ctx context.Context, r *round) error
	// during runs under load. It leaves everything running again.
	during func(ctx context.Context, r *round) error
}

// breakages lists all that a round can suffer.
func breakages() []breakage {
	all := []breakage{
		{name: "kill all services", during: killServices},
		{name: "kill broker", during: killBroker},
		{name: "kill broker and services", during: killEverything},
		{name: "freeze broker", during: freezeBroker},
		{name: "broker away", during: brokerAway},
		{name: "disk full", smallDisk: true, during: fillDisk},
		{name: "poison", before: poisonHeads, during: quiet},
		{name: "rebalance storm", during: storm},
	}
	for _, service := range testsystem.Services() {
		all = append(all,
			breakage{name: "kill " + service, service: service, during: killService},
			breakage{name: "freeze " + service, service: service, during: freezeService})
		for _, step := range stepsOf(service) {
			all = append(all, breakage{
				name: service + " dies " + string(step), service: service, step: step, during: dieAtStep,
			})
		}
	}
	return all
}

// stepsOf returns the named steps that a service comes to.
func stepsOf(service string) []fault.Step {
	order := []fault.Step{fault.BeforeOrder, fault.AfterOrder}
	if service == testsystem.Commande {
		return order
	}
	return slices.DeleteFunc(fault.Steps(), func(s fault.Step) bool { return slices.Contains(order, s) })
}

// publishes says whether a service comes to a step only with messages to
// publish. suivi and analyseur have none but dead letters.
func publishes(service string, step fault.Step) bool {
	return (step == fault.AfterPublish || step == fault.AfterMark) && service != testsystem.Paiement
}
