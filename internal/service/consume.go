package service

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// Consume adds the service's consumer: the loop of its group and topics, with
// the handler. Group, topics and dead letters come from the definition; a service that
// produces nothing sets nothing aside.
func Consume[State, Change any](ctx context.Context, b *Base, cfg delivery.LoopConfig, handler delivery.Handler[State, Change]) error {
	_, err := ConsumeTracked(ctx, b, cfg, handler)
	return err
}

// ConsumeTracked is [Consume] for services that want to know how far they are.
func ConsumeTracked[State, Change any](ctx context.Context, b *Base, cfg delivery.LoopConfig, handler delivery.Handler[State, Change]) (*Progress, error) {
	cfg.Group, cfg.Topics, cfg.DeadLetters = b.Definition.Group, b.Definition.Consumes, banking.DeadLetterTopic
	publisher, err := b.publisher(ctx)
	if err != nil {
		return nil, err
	}
	if publisher == nil {
		cfg.DeadLetters = func(string) string { return "" }
	}
	lag, err := otelkafka.NewLag(b.Instrument, b.Control, otelkafka.DefaultLagInterval)
	if err != nil {
		return nil, fmt.Errorf("watch lag: %w", err)
	}
	b.Stack.OnStop("lag", func(context.Context) error { return lag.Close() })
	b.Stack.Go("lag poll", func(ctx context.Context) error { lag.Run(ctx); return nil })
	rebalances, err := otelkafka.NewRebalances(b.Instrument)
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("rebalances", func(context.Context) error { return rebalances.Close() })
	failures, err := otelkafka.NewFailures(b.Telemetry, cfg.Topics, delivery.Reasons())
	if err != nil {
		return nil, err
	}
	loop, err := delivery.NewLoop(ctx, cfg, delivery.Deps{
		Kafka: b.Kafka, Control: b.Control, Topics: b.Topics, Publisher: publisher, Sizes: kafka.NewSizes(b.Control), Store: b.Store,
		Instrument: b.Instrument, Failures: failures, Lag: lag, Rebalances: rebalances,
		Log: b.Log, Fault: b.Fault,
	}, handler)
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("consumer connections", func(context.Context) error { return loop.Close() })
	b.Stack.Go("consumer", loop.Run)
	b.Ready.Add("consumer", loop.CheckJoined)
	if err := watchUnread(b); err != nil {
		return nil, err
	}
	progress := &Progress{joined: loop.CheckJoined, lag: lag, store: b.Store, holds: b.Control.Holds}
	if b.Store.Shared() {
		progress.missed, err = kafka.Bounds(ctx, b.Control, cfg.Topics...)
	}
	return progress, err
}

// publisher is what sends what the consumer causes; nil where it causes nothing.
func (b *Base) publisher(ctx context.Context) (delivery.BatchPublisher, error) {
	if len(b.Definition.Produces) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	publisher, err := kafka.NewPublisher(ctx, b.Kafka, b.Definition.Produces...)
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("publisher", func(context.Context) error { return publisher.Close() })
	b.Ready.Add("writes to kafka", publisher.Check)
	return publisher, nil
}

// Progress says how far a consumer is.
type Progress struct {
	joined func(context.Context) error
	lag    *otelkafka.Lag
	store  *storage.Store
	missed []kafka.Span // what was in the log at the start; none for who is alone, whose lag says it all
	passed atomic.Bool  // storage has all of it
	// holds says whether a record stands in a span, as [kafka.Client.Holds].
	holds func(context.Context, kafka.Span) (bool, error)
}

// CatchingUp says whether the service still reads what it missed: records that
// were in the log when this instance started, whichever instance reads them, or
// when it was given its partitions.
func (p *Progress) CatchingUp(ctx context.Context) bool {
	return p.joined(ctx) != nil || !p.lag.CaughtUp() || !p.read(ctx)
}

// read says whether storage has come to where the log ended, but for what is no
// record: a transaction's marker never moves a position.
func (p *Progress) read(ctx context.Context) bool {
	if p.passed.Load() {
		return true
	}
	for _, span := range p.missed {
		next, known, err := p.store.Position(ctx, span.Partition)
		if err != nil {
			return false
		}
		if known {
			span.Start = max(span.Start, next)
		}
		if span.Start >= span.End {
			continue
		}
		if held, err := p.holds(ctx, span); err != nil || held {
			return false
		}
	}
	p.passed.Store(true)
	return true
}
