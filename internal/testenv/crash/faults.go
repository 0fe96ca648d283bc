//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

const (
	// sessionTimeout is the shortest that brokers allow as they come.
	sessionTimeout = 6 * time.Second
	// frozen is long enough for the group to have given the partitions away.
	frozen = sessionTimeout + 2*time.Second
	// stepPatience bounds the wait for a service to come to its step.
	stepPatience = 2 * time.Minute
	maxKills     = 2
	maxAfter     = 1500 * time.Millisecond // from load, or a restart, to a kill
	maxDown      = 300 * time.Millisecond
)

// breakage is one thing that goes wrong in a round.
type breakage struct {
	name string
	// step kills the service at a named step of its own, the nth time.
	service string
	step    fault.Step
	// smallDisk puts the data folder on a file system that can be filled.
	smallDisk bool
	// files are the embedded broker's own: no other broker's can suffer it.
	files bool
	// wallClock has the round's processes go by a clock that can be set.
	wallClock bool
	// letters has many orders set aside, with the authoriser's errors.
	letters bool
	// before, if any, runs when the topics are there and no service is.
	before func(ctx context.Context, r *round) error
	// during runs under load. It leaves everything running again.
	during func(ctx context.Context, r *round) error
}

// breakages lists all that a round can suffer: what happens to processes, and what
// other files add to it.
func breakages() []breakage {
	all := slices.Concat(fileBreakages(), strangerBreakages(), groundBreakages(), operatorBreakages(), []breakage{
		{name: "kill all services", during: killServices},
		{name: "kill broker", during: soon(killBroker)},
		{name: "kill broker and services", during: soon(killEverything)},
		{name: "freeze broker", during: soon(freezeBroker)},
		{name: "broker away", during: soon(brokerAway)},
		{name: "sentinelle away", during: lookAway},
	})
	for _, service := range append(testsystem.Services(), testsystem.Sentinelle) {
		all = append(all,
			breakage{name: "kill " + service, service: service, during: killService},
			breakage{name: "freeze " + service, service: service, during: soon(freezeService)})
		for _, step := range stepsOf(service) {
			all = append(all, breakage{
				name: service + " dies " + string(step), service: service, step: step, during: dieAtStep,
			})
		}
	}
	return all
}

// databaseBreakages is what a round with a database server can suffer besides.
func databaseBreakages() []breakage {
	return []breakage{
		{name: "kill database", during: killDatabase},
		{name: "freeze database", during: soon(freezeDatabase)},
		{name: "database away", during: soon(databaseAway)},
		{name: "kill database and services", during: soon(killDatabaseAndServices)},
	}
}

// stepsOf returns the named steps that a service comes to. sentinelle publishes nothing.
func stepsOf(service string) []fault.Step {
	order := []fault.Step{fault.BeforeOrder, fault.AfterOrder}
	switch service {
	case testsystem.Commande:
		return order
	case testsystem.Sentinelle:
		return []fault.Step{fault.BeforeStore, fault.AfterStore, fault.BeforeCommit}
	default:
		return slices.DeleteFunc(fault.Steps(), func(s fault.Step) bool { return slices.Contains(order, s) })
	}
}

// publishes says whether a service comes to a step only with messages to
// publish. suivi and analyseur have none but dead letters.
func publishes(service string, step fault.Step) bool {
	return (step == fault.AfterPublish || step == fault.AfterMark) && service != testsystem.Paiement
}

// pause waits for a time of the round's own choice.
func (r *round) pause(ctx context.Context, most time.Duration) error {
	return lifecycle.Sleep(ctx, time.Duration(r.random.Int64N(int64(most))))
}

// soon has something go wrong after a time of the round's own choice.
func soon(work func(context.Context, *round) error) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		return work(ctx, r)
	}
}

// repeatedly kills and restarts once or twice: the next kill may hit
// what the restart is about to recover.
func repeatedly(ctx context.Context, r *round, kill func(), restart func(context.Context) error) error {
	for range 1 + r.random.IntN(maxKills) {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		kill()
		if err := r.pause(ctx, maxDown); err != nil {
			return err
		}
		if err := restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// instance is one of those of the service that suffers.
func (r *round) instance() *testsystem.Service {
	all := r.system.Instances(r.breakage.service)
	return all[r.random.IntN(len(all))]
}

func killService(ctx context.Context, r *round) error {
	s := r.instance()
	return repeatedly(ctx, r, s.Kill, func(ctx context.Context) error { return s.Start(ctx) })
}

// lookAnew crashes who looks on, or stops it, and has it go on: every round does, whatever
// else it suffers, for what was counted has to be right then too.
func (r *round) lookAnew(ctx context.Context) error {
	all := r.system.Instances(testsystem.Sentinelle)
	s := all[r.random.IntN(len(all))]
	if err := r.pause(ctx, maxDown); err != nil {
		return err
	}
	if r.random.IntN(3) > 0 || !s.Running() {
		s.Kill()
	} else if err := s.Stop(); err != nil {
		return err
	}
	return s.Start(ctx)
}

// lookAway has nobody look on while many orders are placed and decided.
func lookAway(ctx context.Context, r *round) error {
	for _, s := range r.system.Instances(testsystem.Sentinelle) {
		s.Kill()
	}
	if err := r.taken(ctx, 2*underWay); err != nil {
		return err
	}
	return r.system.Start(ctx)
}

func killServices(ctx context.Context, r *round) error {
	return repeatedly(ctx, r, r.system.Kill, r.system.Start)
}

func killBroker(ctx context.Context, r *round) error {
	r.broker.Kill()
	if err := r.pause(ctx, maxDown); err != nil {
		return err
	}
	return r.broker.Restart(ctx)
}

// killEverything is a power cut as far as processes can have one.
func killEverything(ctx context.Context, r *round) error {
	var both sync.WaitGroup
	both.Go(r.system.Kill)
	both.Go(r.broker.Kill)
	both.Wait()
	if err := r.broker.Restart(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}

func brokerAway(ctx context.Context, r *round) error {
	return away(ctx, r, r.broker.Kill, r.broker.Stop, r.broker.Restart)
}

// away kills or stops something, and starts it again after a while.
func away(ctx context.Context, r *round, kill func(), stop func() error, restart func(context.Context) error) error {
	if r.random.IntN(2) == 0 {
		kill()
	} else if err := stop(); err != nil {
		return err
	}
	if err := lifecycle.Sleep(ctx, r.cfg.Away); err != nil {
		return err
	}
	return restart(ctx)
}

// freezeService makes a zombie: its partitions are given away while it stands
// still with a batch in progress, and it wakes up in the middle of it.
func freezeService(ctx context.Context, r *round) error {
	return freeze(ctx, frozen, r.instance().Process())
}

// freezeBroker leaves connections open that do not answer, as freezeDatabase does.
func freezeBroker(ctx context.Context, r *round) error {
	return freeze(ctx, 2*ackTimeout, r.broker.Processes()...)
}

// freezable is a process, or several.
type freezable interface {
	Freeze() error
	Thaw() error
}

func freeze[F freezable](ctx context.Context, d time.Duration, all ...F) (err error) {
	for _, p := range all {
		err = errors.Join(err, p.Freeze())
	}
	if err == nil {
		err = lifecycle.Sleep(ctx, d)
	}
	for _, p := range all {
		err = errors.Join(err, p.Thaw())
	}
	return err
}

// dieAtStep waits for the service to die where its environment says, and
// starts it without.
func dieAtStep(ctx context.Context, r *round) error {
	s := r.system.Service(r.breakage.service)
	patience, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	ticker := time.NewTicker(stepPoll)
	defer ticker.Stop()
	for sprinkle := publishes(r.breakage.service, r.breakage.step); ; {
		if sprinkle {
			if err := r.putPoison(patience, poisonable(), 1); err != nil {
				return err
			}
		}
		select {
		case <-s.Process().Done():
			if status := s.Process().Status(); status != -1 {
				return fmt.Errorf("%s ended with %d instead of dying %s", s.Name, status, r.breakage.step)
			}
			return s.Start(ctx)
		case <-ticker.C:
		case <-patience.Done():
			return fmt.Errorf("%s did not come to %s: %w", s.Name, r.breakage.step, patience.Err())
		}
	}
}

// stepPoll is the time between two poison records on the way to a step.
const stepPoll = 200 * time.Millisecond

func killDatabase(ctx context.Context, r *round) error {
	return repeatedly(ctx, r, r.database.Kill, r.database.Restart)
}

func databaseAway(ctx context.Context, r *round) error {
	stop := func() error { r.database.Stop(); return nil }
	return away(ctx, r, r.database.Kill, stop, r.database.Restart)
}

func freezeDatabase(ctx context.Context, r *round) error { return freeze(ctx, frozen, r.database) }

func killDatabaseAndServices(ctx context.Context, r *round) error {
	r.system.Kill()
	r.database.Kill()
	if err := r.database.Restart(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}
