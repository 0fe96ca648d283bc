package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// stall is how long the log may give nothing. A broker that is away is told by
// errors, so this is for what cannot come, such as a record in the place of a
// transaction's marker at a log's end.
const stall = 30 * time.Second

// errStalled: the log gives no records although its end has not been reached.
var errStalled = errors.New("the log gives no more records before its end")

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
