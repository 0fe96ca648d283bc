package audit

import (
	"context"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

// pause is the least time between two looks.
const pause = 200 * time.Millisecond

// Config says what to audit, and how.
type Config struct {
	// Bounds returns where the topics' logs begin and end now, asked in the
	// order of the topics.
	Bounds func(topics ...string) ([]kafka.Span, error)
	// Scan reads spans, as [kafka.Scan] does.
	Scan func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error
	// State reads the services' state as it is now.
	State func(ctx context.Context) (State, error)
	// Patience is how long differences are looked at again; 0: not at all.
	Patience time.Duration
	// Retention is how long the services keep what is decided; 0: for ever.
	Retention time.Duration
	// Progress is told how many of a look's records have been read, by one
	// goroutine at a time. Nil for nobody.
	Progress func(done, all int64)
}

// Run audits a system that may be running. What differs is looked at again,
// with the state and the new records read anew, until it goes away or the
// patience is over: what stays from the first look to the last is a
// difference.
func Run(ctx context.Context, cfg Config) (Report, error) {
	a := &auditor{cfg: cfg, log: NewLog()}
	report, err := a.look(ctx)
	deadline := time.Now().Add(cfg.Patience)
	looks, kept := 1, report.Differences
	for err == nil && len(kept) > 0 && time.Until(deadline) > 0 {
		if err = lifecycle.Sleep(ctx, min(max(pause, a.took), time.Until(deadline))); err != nil {
			break
		}
		if report, err = a.look(ctx); err == nil {
			kept = report.keep(kept)
			looks++
		}
	}
	report.Looks = looks
	return report, err
}

// keep leaves the differences that there were before too. An order that only
// now looks lost was not there at the first look: it is on its way.
func (r *Report) keep(before []Difference) []Difference {
	known := map[differenceKey]bool{}
	for _, d := range before {
		known[d.key()] = true
	}
	kept := []Difference{}
	for _, d := range r.Differences {
		if known[d.key()] {
			kept = append(kept, d)
			continue
		}
		r.Unaccounted, r.InFlight = r.Unaccounted.less(d.missing), r.InFlight.and(d.missing)
	}
	r.settle(kept)
	return kept
}
