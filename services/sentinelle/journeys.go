package sentinelle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/retry"
	"github.com/vigie-dev/vigie/internal/service"
)

// Bank says whether the cluster has the bank's topics, whose orders are to be followed.
type Bank string

// What can be said of it.
const (
	// BankAuto: there is one where the bank's services are known, or its topics are there.
	BankAuto Bank = "auto"
	BankOn   Bank = "on"
	BankOff  Bank = "off"
)

// bankInterval is how often it is looked whether the topics have appeared.
const bankInterval = 10 * time.Second

// Journeys are the settings of following orders.
type Journeys struct {
	// Bank says whether there are any.
	Bank Bank
	// Objective is the time within which an order is to be decided and visible.
	Objective time.Duration
}

// followJourneys follows the orders in the background, where there is a bank. Whatever fails in it
// is tried again: sentinelle goes on without. The prober, where there is one, is told of the
// decisions on its probes.
func followJourneys(b *service.Base, cfg Config, known *way) {
	if cfg.Journeys.Bank == BankOff || !b.Stores() {
		return
	}
	b.Stack.Go("journeys", func(ctx context.Context) error {
		failed := func(err error, delay time.Duration) {
			b.Log.WarnContext(ctx, "orders cannot be followed; trying again", "error", err, "delay", delay)
		}
		policy := retry.Policy{First: time.Second, Most: time.Minute, Waiting: failed}
		return whileRunning(ctx, policy.Do(ctx, func() error {
			if err := awaitBank(ctx, b, cfg); err != nil {
				return err
			}
			return keepLedger(ctx, b, cfg, known)
		}))
	})
}

// whileRunning is an error, unless there was a request to stop.
func whileRunning(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // a request to stop is no failure
	}
	return err
}

// awaitBank waits until there is a bank.
func awaitBank(ctx context.Context, b *service.Base, cfg Config) (err error) {
	if cfg.Journeys.Bank == BankOn || hasBank(cfg.Around) {
		return nil
	}
	client, err := kafka.Connect(ctx, b.Kafka)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	for {
		if err := client.RefreshMetadata(); err != nil {
			return fmt.Errorf("look for the bank's topics: %w", err)
		}
		missing, err := kafka.MissingTopics(client, banking.Topics())
		if err != nil {
			return fmt.Errorf("look for the bank's topics: %w", err)
		}
		if len(missing) == 0 {
			return nil
		}
		if err := lifecycle.Sleep(ctx, bankInterval); err != nil {
			return err
		}
	}
}

// keepLedger keeps the ledger of orders until ctx ends. What it has counted is exported also
// while Kafka is away.
func keepLedger(ctx context.Context, b *service.Base, cfg Config, known *way) (err error) {
	own, err := b.Join()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(ctx, own)) }()
	if err := own.OpenStore(ctx, journeys.Migrations()); err != nil {
		return err
	}
	following := journeys.Config{
		Objective: cfg.Journeys.Objective, Store: own.Store, Telemetry: own.Telemetry, Clocks: own.Clocks(), Log: own.Log,
	}
	if known.prober != nil {
		following.Probed = known.prober.Saw
	}
	ledger, err := journeys.Open(ctx, following)
	if err != nil {
		return err
	}
	known.orders.Store(ledger)
	own.Stack.OnStop("journeys", func(context.Context) error { known.orders.Store(nil); return ledger.Close() })
	if err := own.Prune(ledger.Forget); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := read(ctx, own, ledger); ctx.Err() == nil && err != nil {
			own.Log.WarnContext(ctx, "the bank's topics cannot be read; trying again", "error", err)
			_ = lifecycle.Sleep(ctx, bankInterval)
		}
	}
	return nil
}

// read reads the bank's topics and judges the orders, until ctx ends or something fails.
func read(ctx context.Context, own *service.Base, ledger *journeys.Ledger) (err error) {
	reader, err := own.Join()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(ctx, reader)) }()
	if err := reader.Connect(ctx); err != nil {
		return err
	}
	if err := service.Consume(ctx, reader, delivery.LoopConfig{Concurrency: 1}, ledger.Handler()); err != nil {
		return err
	}
	reader.Stack.Go("judge", func(ctx context.Context) error { return ledger.Run(ctx, journeys.Cluster{Client: reader.Control}) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-reader.Stack.Failed():
		return err
	}
}

// stopTime bounds how long a part may take to stop.
const stopTime = 10 * time.Second

func stop(ctx context.Context, b *service.Base) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return b.Stack.Stop(ctx)
}
