//go:build integration && unix

package faults_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/system"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

// row is a fault, or what is none and has no alert.
type row struct {
	name, does string
	alert      string
	within     time.Duration // for the alert; of what is no fault, how long it goes on
	before     time.Duration // until it begins
	follows    []string      // pages that come by right
	world      func(*testing.T, string) *world
	begin      func(context.Context, *world) (end func(context.Context) error, err error)
}

// rows are all of them.
func rows() []row { return slices.Concat(switches(), processes(), wellness()) }

// offered are the faults that `vigie up` offers.
func offered() []faults.Fault {
	return slices.Concat(faults.OfBroker(faults.NewGate(), nil), faults.OfStrangers(kafka.Config{}), (&paiement.Adjustable{}).Faults(),
		faults.OfStorage("", paiement.Name), []faults.Fault{faults.Flood("")})
}

// switches are the faults that people start by `vigie fault`.
func switches() (all []row) {
	cures := map[string][]string{
		"poison":          {"dlq", "purge", "--reason", "malformed", "--yes"},
		"authoriser-down": {"dlq", "replay", "--reason", "authoriser"},
	}
	for _, f := range offered() {
		r := row{name: f.Name, does: f.Does, alert: f.Alert, within: f.Within, follows: f.Follows, world: inOne}
		if r.alert == "" {
			r.within = 3 * time.Minute
		}
		r.begin = func(ctx context.Context, w *world) (func(context.Context) error, error) {
			return func(ctx context.Context) error {
				if err := w.vigie(ctx, "fault", "stop", f.Name); err != nil {
					return err
				}
				if cure := cures[f.Name]; cure != nil {
					return w.vigie(ctx, cure...)
				}
				return nil
			}, w.vigie(ctx, "fault", "start", f.Name, "--for", "1h")
		}
		all = append(all, r)
	}
	return all
}

// processes are what happens to processes.
func processes() (all []row) {
	for _, name := range append(system.Services(), sentinelle.Name) {
		follows := []string{"OrdersNotDecided", "OrdersFreshnessBurn"}
		all = append(all,
			row{
				name: name + "-killed", does: name + " is killed.", alert: "ServiceDown", within: time.Minute, follows: follows, world: inMany,
				begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
					p := w.program(name)
					p.Kill()
					return func(ctx context.Context) error { return p.Start(ctx) }, nil
				},
			},
			row{
				name: name + "-frozen", does: name + " is stopped by SIGSTOP: its connections stay open.", alert: "ServiceDown", within: time.Minute, follows: follows, world: inMany,
				begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
					p := w.program(name).Process()
					return func(context.Context) error { return p.Thaw() }, p.Freeze()
				},
			})
	}
	return append(all,
		row{
			name: "broker-killed", does: "The broker's process is killed.", alert: "KafkaDown", within: time.Minute, follows: []string{"OrdersAvailabilityBurn"}, world: inMany,
			begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
				w.broker.Kill()
				return w.broker.Restart, nil
			},
		},
		row{
			name: "broker-frozen", does: "The broker's process is stopped by SIGSTOP.", alert: "KafkaDown", within: time.Minute, follows: []string{"OrdersAvailabilityBurn"}, world: inMany,
			begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
				p := w.broker.Process()
				return func(context.Context) error { return p.Thaw() }, p.Freeze()
			},
		})
}

// program is a service's process.
func (w *world) program(name string) *system.Program {
	if name == sentinelle.Name {
		return w.sentinelle
	}
	return w.system.Service(name).Program
}

// wellness is what is no fault: nobody may be called.
func wellness() []row {
	const calm, idle = 2 * time.Minute, 6 * time.Minute
	nothing := func(context.Context) error { return nil }
	return []row{
		{
			name: "rolling-restart", does: "Every service is restarted, one after the other.", within: calm, world: inMany,
			begin: func(ctx context.Context, w *world) (func(context.Context) error, error) {
				for _, name := range append(system.Services(), sentinelle.Name) {
					p := w.program(name)
					if err := p.Stop(); err != nil {
						return nil, err
					}
					if err := p.Start(ctx); err != nil {
						return nil, err
					}
				}
				return nothing, nil
			},
		},
		{
			name: "prometheus-restarted", does: "Prometheus is restarted.", within: calm, world: inMany,
			begin: func(ctx context.Context, w *world) (func(context.Context) error, error) {
				if err := w.monitoring.stop(ctx); err != nil {
					return nil, err
				}
				return nothing, w.monitoring.start(ctx)
			},
		},
		{
			name: "three-times-the-load", does: "Three times as many orders are placed.", within: calm, world: inOne,
			begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
				w.load.clients.Store(3 * clients)
				return nothing, nil
			},
		},
		{
			name: "idle-then-an-order", does: "No order comes for six minutes, and then one.", before: idle, within: time.Minute, world: inOne,
			begin: func(ctx context.Context, w *world) (func(context.Context) error, error) {
				w.load.clients.Store(0)
				select {
				case <-time.After(idle):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				return nothing, w.send(ctx, w.commande+"/orders", "application/json", `{"userId":"early","amount":12.5,"items":["coffee"]}`)
			},
		},
		{
			name: "wrong-client", does: "A client sends what is no order, as often as there are orders.", within: calm, world: inOne,
			begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
				w.load.wrong.Store(true)
				return nothing, nil
			},
		},
		{
			name: "partitions-added", does: "Three partitions are added to " + banking.TopicOrdersCreated + ".", within: calm, world: inMany,
			begin: func(_ context.Context, w *world) (func(context.Context) error, error) {
				return nothing, addPartitions(strings.Split(w.broker.Address(), ","), banking.TopicOrdersCreated, 2*banking.Partitions)
			},
		},
	}
}

// addPartitions has a topic have so many.
func addPartitions(brokers []string, topic string, count int32) (err error) {
	cfg := sarama.NewConfig()
	cfg.MetricRegistry = metrics.NewRegistry()
	admin, err := sarama.NewClusterAdmin(brokers, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	return admin.CreatePartitions(topic, count, nil, false)
}
