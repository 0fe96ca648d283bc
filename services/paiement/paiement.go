// Package paiement decides each payment once: what its ledger says is final,
// and is published to payments.authorized or payments.rejected.
//
// handler.go says how an order is decided and authoriser.go by whom, faults.go what can go
// wrong with that, store.go what is kept. purges.go looks for orders that were given up before, and
// horizon.go keeps from when on they are decided. rebuild.go reads back what
// was published, which fills a ledger that was lost, gaps.go says what cannot be
// known from it, and alone.go what no other ledger could know. reset.go has a ledger begin anew and keep what it knows. ledger.go has
// all that without Kafka around it; this file puts them together.
package paiement

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed openapi.yaml
var openAPI []byte

// Name is the service's name in labels, logs and traces.
const Name = "paiement"

const (
	paymentsTotal = "payments_total"
	rebuildLeft   = "ledger_rebuild_remaining_records"
	// concurrency is how many payments of a partition's batch are authorised
	// at once.
	concurrency = 64
)

// Catalogue returns the metrics that paiement adds to the common ones.
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{
		{
			Name: paymentsTotal, Kind: telemetry.Counter, Documented: true,
			Help: "Payments decided and stored.", Labels: []string{"status"},
			Bound: "authorized or rejected", MaxSeries: 2,
		},
		{
			Name: rebuildLeft, Kind: telemetry.Gauge,
			Help: "Records that are still to be read to rebuild a lost ledger, 0 while none is rebuilt.",
		},
	}
}

// Config holds paiement's own settings.
type Config struct {
	// Authoriser decides; nil stands for the Simulation below.
	Authoriser Authoriser
	Simulation Simulation
	// DecideFrom has orders decided that are older than what the ledger knows of.
	DecideFrom DecideFrom
}

// Environment variables of the settings that have a range.
const (
	VariableRejectRate = "PAIEMENT_REJECT_RATE"
	VariableErrorRate  = "PAIEMENT_ERROR_RATE"
	VariableLatency    = "PAIEMENT_LATENCY"
)

// Validate names the setting that is out of its range.
func (c Config) Validate() error {
	s := c.Simulation
	switch {
	case !(s.RejectRate >= 0 && s.RejectRate <= 1): // also refuses NaN
		return errors.New(VariableRejectRate + " must be between 0 and 1")
	case !(s.ErrorRate >= 0 && s.ErrorRate <= 1):
		return errors.New(VariableErrorRate + " must be between 0 and 1")
	case s.Latency < 0:
		return errors.New(VariableLatency + " must not be negative")
	}
	return nil
}

// Definition is paiement with its own settings, which [Config.Validate] has
// found to be good.
func Definition(cfg Config) service.Definition {
	return service.Definition{
		Name: Name, Does: "decide each payment once", Address: "127.0.0.1:3004",
		Catalogue: Catalogue(), Migrations: migrations, OpenAPI: openAPI, Group: banking.GroupPaiement,
		Consumes: banking.ReadBy(banking.GroupPaiement),
		Produces: []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ},
		Wire:     func(ctx context.Context, b *service.Base) error { return wire(ctx, b, cfg) },
	}
}

// Start starts paiement and returns when it can decide payments.
func Start(ctx context.Context, settings service.Settings, cfg Config) (*service.Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return service.Start(ctx, settings, Definition(cfg))
}

func wire(ctx context.Context, b *service.Base, cfg Config) error {
	d, err := newDecider(b, cfg)
	if err != nil {
		return err
	}
	progress := &rebuildProgress{}
	if _, err := b.Telemetry.Instruments().Int64ObservableGauge(rebuildLeft, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(progress.left())
		return nil
	}); err != nil {
		return err
	}
	b.Ready.Add("ledger", progress.Check)
	lost := rebuild{store: d.store, log: d.purges.log, logger: b.Log, now: time.Now, progress: progress,
		began: func(ctx context.Context) (kafka.Began, error) {
			return b.Topics.Began(ctx, b.Definition.Group, b.Definition.Consumes...)
		}}
	if err := lost.run(ctx); err != nil {
		return err
	}
	if err := d.store.say(ctx, b.Topics); err != nil {
		return err
	}
	if err := cfg.DecideFrom.apply(ctx, d.store, b.Log); err != nil {
		return err
	}
	if err := b.Prune(d.store.Forget); err != nil {
		return err
	}
	b.Stack.Go("ledger", lost.again)
	return service.Consume(ctx, b, delivery.LoopConfig{Concurrency: concurrency}, d)
}

// apply lowers the horizon as requested, and tells.
func (d DecideFrom) apply(ctx context.Context, s store, log *slog.Logger) error {
	if d == (DecideFrom{}) {
		return nil
	}
	was, lowered, err := s.Lower(ctx, d.time) // zero for all
	if err != nil {
		return err
	}
	if lowered {
		now := decideAll
		if !d.all {
			now = d.time.Format(time.RFC3339)
		}
		log.WarnContext(ctx, "orders are decided from an earlier time on, as requested; what was decided before it may be decided again",
			"decides_from", now, "was", was)
	}
	return nil
}

// newDecider makes the handler, with its counters at zero.
func newDecider(b *service.Base, cfg Config) (*decider, error) {
	payments, err := b.Telemetry.Instruments().Int64Counter(paymentsTotal)
	if err != nil {
		return nil, err
	}
	authorized := metric.WithAttributeSet(attribute.NewSet(attribute.String("status", "authorized")))
	rejected := metric.WithAttributeSet(attribute.NewSet(attribute.String("status", "rejected")))
	payments.Add(context.Background(), 0, authorized) // both are seen as zero before the first
	payments.Add(context.Background(), 0, rejected)
	authoriser := cfg.Authoriser
	if authoriser == nil {
		authoriser = cfg.Simulation
	}
	state := store{b.Store}
	return &decider{
		store: state, purges: newUnread(state, kafka.Cluster{Config: b.Kafka, Client: b.Control}),
		authoriser: authoriser, now: time.Now, log: b.Log, lines: b.Orders,
		authorized: counting(payments, authorized), rejected: counting(payments, rejected),
	}, nil
}
