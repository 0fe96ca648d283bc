// Package audit says whether every order is accounted for once. It exists so
// that the promise of the system (an order is paid or rejected exactly once,
// or stands among the dead letters) can be checked from outside, by other code
// than that which keeps it.
//
// It compares two things: the log (every record of the topics, read from their
// start) and the services' state (paiement's ledger and outbox, suivi's views,
// analyseur's totals, and how far each has read). The comparison, [Reconcile],
// is a pure function of the two; [Run] gathers them on a system that may be
// running, and looks again at what differs, since what is under way looks like a
// difference for a moment.
//
// run.go has [Run]. log.go keeps what records say, by order. reconcile.go has the
// state and [Reconcile]: orders.go accounts for every order by log and ledger,
// views.go compares what suivi and analyseur made of them. report.go has the
// [Report], its differences and its text.
package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

// pause is the least time between two looks.
const pause = 200 * time.Millisecond

// stall is how long the log may give nothing. A broker that is away causes
// errors, so this is for what cannot come, such as a record in the place of a
// transaction's marker at a log's end.
const stall = 30 * time.Second

// errStalled: the log gives no records although its end has not been reached.
var errStalled = errors.New("the log gives no more records before its end")

// Config says what to audit, and how.
type Config struct {
	// Bounds returns where the topics' logs begin and end now, queried in the
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
	// Progress is called with how many of a look's records have been read, by one
	// goroutine at a time. It may be nil.
	Progress func(done, all int64)
}

// Run audits a system that may be running. What differs is looked at again,
// with the state and the new records read again, until it goes away or the
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
	r.conclude(kept)
	return kept
}

// auditor looks at one system.
type auditor struct {
	cfg  Config
	log  *Log
	ends map[record.Partition]int64 // up to where the log has been read
	took time.Duration              // the last look but for reading the log
}

// look reads the state and what is new in the log, and reconciles the two.
//
// The order of the steps keeps what is under way from looking like a
// difference. The log's ends are taken before and after the state is read: what
// the state holds is in the log up to the second, what the log holds up to the
// first is in the state. And the ends of results and dead letters are taken
// before those of the orders that they came from.
func (a *auditor) look(ctx context.Context) (Report, error) {
	began := time.Now()
	before, err := a.cfg.Bounds(topics()...)
	if err != nil {
		return Report{}, err
	}
	state, err := a.cfg.State(ctx)
	if err != nil {
		return Report{}, err
	}
	state.Since = map[record.Partition]int64{}
	for _, s := range before {
		state.Since[s.Partition] = s.End
	}
	spans, err := a.cfg.Bounds(topics()...)
	if err != nil {
		return Report{}, err
	}
	reading := time.Now()
	if err := a.read(ctx, spans); err != nil {
		return Report{}, err
	}
	read := time.Now()
	var forgotten time.Time
	if a.cfg.Retention > 0 {
		forgotten = began.Add(-a.cfg.Retention)
	}
	report := Reconcile(a.log, state, forgotten)
	a.took = time.Since(read) + reading.Sub(began)
	return report, nil
}

// topics are those of an audit: what was published because of a record comes
// before that record's topic.
func topics() []string {
	return []string{
		banking.TopicPaymentsDLQ, banking.TopicOrdersDLQ, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected,
		banking.TopicOrdersCreated,
	}
}

// read adds what has not been read of the spans to the log.
func (a *auditor) read(ctx context.Context, spans []kafka.Span) error {
	if a.ends == nil {
		a.ends = map[record.Partition]int64{}
	}
	var all int64
	for i, s := range spans {
		if end, ok := a.ends[s.Partition]; ok {
			spans[i].Start = end
		}
		a.ends[s.Partition] = s.End
		all += s.End - spans[i].Start
	}
	a.log.Extend(spans)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	var mu sync.Mutex
	done := int64(0)
	err := a.cfg.Scan(ctx, spans, func(r record.Record) error {
		timer.Reset(stall)
		a.log.Add(r)
		mu.Lock()
		defer mu.Unlock()
		if done++; a.cfg.Progress != nil {
			a.cfg.Progress(done, all)
		}
		return nil
	})
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		err = fmt.Errorf("%w: %d of %d were read", errStalled, done, all)
	}
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}
