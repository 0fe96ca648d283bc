package service

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	// clockInterval is how often the clocks are looked at: what elapses after the
	// last look counts for nothing when the process ends.
	clockInterval = time.Minute
	// pruneRounds is how many looks there are to one round of removing.
	pruneRounds = 60
)

// Prune has settled state that is older than the retention removed in the
// background, in small steps. What is older is judged by the newest record that
// was processed, and by no clock alone: see [storage.Pruning].
func (b *Base) Prune(forget storage.Forget) error {
	return b.PruneAfter(b.Retention, b.Store.Newest, forget)
}

// PruneAfter is [Base.Prune] for state with an age and a newest record of its
// own.
func (b *Base) PruneAfter(age time.Duration, newest func(context.Context) (time.Time, error), forget storage.Forget) error {
	p := &pruner{base: b, pruning: storage.Pruning{Store: b.Store, Age: age, Newest: newest, Forget: forget}}
	if err := p.measure(b.Telemetry.Instruments()); err != nil {
		return err
	}
	b.Stack.Go("prune", p.run)
	return nil
}

// pruner watches a service's clock, and removes what is old by it.
type pruner struct {
	base    *Base
	pruning storage.Pruning

	steps, removed metric.Int64Counter
	behind         atomic.Int64 // in seconds
}

// measure makes the metrics, whose zeros are seen from the start.
func (p *pruner) measure(instruments *telemetry.Instruments) (err error) {
	if p.steps, err = instruments.Int64Counter(clockSteps); err != nil {
		return err
	}
	if p.removed, err = instruments.Int64Counter(prunedRows); err != nil {
		return err
	}
	ctx := context.Background()
	p.steps.Add(ctx, 0, direction(1))
	p.steps.Add(ctx, 0, direction(-1))
	p.removed.Add(ctx, 0)
	_, err = instruments.Int64ObservableGauge(clockBehind, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(p.behind.Load())
		return nil
	})
	return err
}

func direction(step time.Duration) metric.MeasurementOption {
	if step < 0 {
		return metric.WithAttributes(attribute.String("direction", "backward"))
	}
	return metric.WithAttributes(attribute.String("direction", "forward"))
}

// run looks at the clock at once and every minute, and removes what is old with
// the first look and every sixtieth, until ctx ends.
func (p *pruner) run(ctx context.Context) error {
	ticker := time.NewTicker(clockInterval)
	defer ticker.Stop()
	for looks := 0; ; looks++ {
		times, err := p.look(ctx)
		if err == nil && looks%pruneRounds == 0 {
			err = p.round(ctx, times)
		}
		if ctx.Err() != nil {
			return nil // a request to stop is no failure
		}
		if err != nil {
			p.base.Log.WarnContext(ctx, "old state not removed; the next round tries again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look moves the storage's clock on and tells what is wrong with the machine's.
func (p *pruner) look(ctx context.Context) (storage.Times, error) {
	times, err := p.pruning.Look(ctx)
	if err != nil {
		return storage.Times{}, err
	}
	if times.Step != 0 {
		p.steps.Add(ctx, 1, direction(times.Step))
		p.base.Log.WarnContext(ctx, "the time of day was set, or nothing ran for long; nothing is removed for its age this time",
			"step", times.Step.Round(time.Second), "now", times.Wall.UTC())
	}
	if before := p.behind.Swap(int64(times.Behind / time.Second)); times.Behind > 0 && before == 0 {
		p.base.Log.WarnContext(ctx, "the time of day is behind the newest record; nothing is removed for its age until some time after that has changed",
			"behind", times.Behind.Round(time.Second), "now", times.Wall.UTC(), "newest", times.Newest.UTC())
	}
	return times, nil
}

// round removes what is old, unless no time can be believed.
func (p *pruner) round(ctx context.Context, times storage.Times) error {
	n, before, err := p.pruning.Round(ctx, times)
	p.removed.Add(ctx, n)
	if n > 0 {
		p.base.Log.InfoContext(ctx, "old state removed", "rows", n, "older_than", p.pruning.Age, "before", before.UTC())
	}
	return err
}
