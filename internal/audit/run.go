// Package audit says whether every order is accounted for once. It exists so
// that the promise of the system (an order is paid or rejected exactly once,
// or stands among the dead letters) can be checked from outside, by other code
// than that which keeps it.
//
// It compares two things: the log (every record of the topics, read from their
// start) and the services' state (paiement's ledger and outbox, suivi's views,
// analyseur's totals, and how far each has read). Both are taken apart into
// small facts, each about one order, which are sorted by order on disk: the log
// may be of any length, memory is not. Then each order is judged by itself, by
// [reconciliation.account], a pure function of its facts, and what it comes to
// is added up. An [Auditor] does that on a system that may be running, and looks
// again at what differs, since what is under way looks like a difference for a
// moment. It may be run again and again, and then reads of the log only what is
// new.
//
// run.go has the [Auditor]. facts.go says what the log's records say of an order, and
// codec.go how it is written down; log.go keeps it, extents.go knows how much
// of the log there is, and when it was written. state.go takes the services'
// rows. reconcile.go compares the two as a whole: letters.go joins dead letters
// with their markers and origins, orders.go accounts for every order by log and
// ledger, views.go compares what suivi and analyseur made of it. report.go has
// the [Report], its differences and its text, sum.go sums of any size.
package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/extsort"
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

var (
	// errStalled: the log gives no records although its end has not been reached.
	errStalled = errors.New("the log gives no more records before its end")
	// ErrLogChanged: the log is not the one that was read so far, or has lost
	// records that were not read yet. A new [Auditor] can begin with what it is now.
	ErrLogChanged = errors.New("the log is no longer the one that was read before")
)

// Config says what to audit, and how.
type Config struct {
	// Bounds returns where the topics' logs begin and end now, queried in the
	// order of the topics.
	Bounds func(topics ...string) ([]kafka.Span, error)
	// Written returns where the topics' logs end now, whether what stands there can
	// be read yet or not, as [kafka.Cluster.Written] does.
	Written func(ctx context.Context, topics ...string) (map[record.Partition]int64, error)
	// Scan reads spans, as [kafka.Scan] does.
	Scan func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error
	// State reads the services' state as it is now, and gives their rows to rows.
	State func(ctx context.Context, rows *Rows) (State, error)
	// Since has only orders audited that were created since then; zero stands for
	// all. From moves the spans' starts on to what may be of those: it may leave
	// too much in, and never too little.
	Since time.Time
	From  func(spans []kafka.Span, since time.Time) ([]kafka.Span, error)
	// Limit is how many differences are in the report, at least one; all are
	// counted.
	Limit int
	// Dir is where temporary files are kept; "" stands for the system's folder.
	Dir string
	// Memory is about how much is used for sorting, in bytes, half of it for the
	// log; 0 stands for 32 MB. With less, the temporary files are in more parts.
	Memory int
	// Patience is how long differences are looked at again; 0: not at all.
	Patience time.Duration
	// Retention is how long the services keep what is decided; 0: for ever.
	Retention time.Duration
	// Progress is called with how many of a look's records have been read, by one
	// goroutine at a time. It may be nil.
	Progress func(done, all int64)
}

// Run audits a system once, as [Auditor.Run] does.
//
// It needs less than 512 MB of memory, however long the log is, and about half
// a kilobyte in temporary files for each order.
func Run(ctx context.Context, cfg Config) (_ Report, err error) {
	a := New(cfg)
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Run(ctx)
}

// Auditor audits one system, as often as it is told. It keeps what the log says,
// in temporary files of about 250 bytes for each order, and reads of the log only
// what has come since. It is not for several goroutines.
type Auditor struct {
	cfg Config
	decoder
	log  *log
	ends map[record.Partition]int64 // up to where the log has been read
	// hidden says what could not be read at the last look, and why; nil for all.
	hidden error
	kept   *extsort.Sorter // the differences of all looks of this run so far; nil before the first
	took   time.Duration   // the last look but for reading the log
}

// New returns an auditor that has read nothing yet. It has to be closed.
func New(cfg Config) *Auditor {
	if cfg.Memory == 0 {
		cfg.Memory = 32 << 20
	}
	d := decoder{maphash.MakeSeed()}
	return &Auditor{cfg: cfg, decoder: d, log: newLog(cfg, d)}
}

// Run audits the system as it is now. What differs is looked at again, with the
// state and the new records read again, until it goes away or the patience is
// over: what stays from the first look to the last is a difference. A transaction
// that is open is waited for in the same way.
//
// The report is what a new auditor's would be, as long as retention has cut
// nothing meanwhile: of what has been cut since, this one still knows what the log
// said. After an error the auditor is good for nothing but to be closed.
func (a *Auditor) Run(ctx context.Context) (_ Report, err error) {
	defer func() { err = errors.Join(err, a.forget()) }()
	report, err := a.look(ctx)
	deadline := time.Now().Add(a.cfg.Patience)
	looks := 1
	for err == nil && (report.DifferenceCount > 0 || a.hidden != nil) && time.Until(deadline) > 0 {
		if err = lifecycle.Sleep(ctx, min(max(pause, a.took), time.Until(deadline))); err != nil {
			break
		}
		report, err = a.look(ctx)
		looks++
	}
	report.Looks = looks
	return report, err
}

// forget drops the differences of the looks so far.
func (a *Auditor) forget() error {
	if a.kept == nil {
		return nil
	}
	kept := a.kept
	a.kept = nil
	return kept.Close()
}

// Close removes what the auditor keeps.
func (a *Auditor) Close() error { return errors.Join(a.forget(), closeAll(a.log.sorters())) }

func closeAll(sorters []*extsort.Sorter) (err error) {
	for _, s := range sorters {
		err = errors.Join(err, s.Close())
	}
	return err
}

// look reads the state and what is new in the log, and reconciles the two.
//
// The order of the steps keeps what is under way from looking like a
// difference. The log's ends are taken before and after the state is read: what
// the state holds is in the log up to the second, what the log holds up to the
// first is in the state. And the ends of results and dead letters are taken
// before those of the orders that they came from.
func (a *Auditor) look(ctx context.Context) (_ Report, err error) {
	began := time.Now()
	before, err := a.cfg.Bounds(topics()...)
	if err != nil {
		return Report{}, err
	}
	rows := newRows(a.cfg, a.decoder)
	differences := extsort.New(a.cfg.Dir, small)
	defer func() { err = errors.Join(err, closeAll(append(rows.sorters(), differences))) }()
	state, err := a.cfg.State(ctx, rows)
	if err != nil {
		return Report{}, err
	}
	state.Since = map[record.Partition]int64{}
	for _, s := range before {
		state.Since[s.Partition] = s.End
	}
	// Asked for before what can be read: without a transaction that is open, all
	// that was written then can be read now.
	written, err := a.cfg.Written(ctx, topics()...)
	if err != nil {
		return Report{}, err
	}
	spans, err := a.cfg.Bounds(topics()...)
	if err != nil {
		return Report{}, err
	}
	a.hidden = kafka.Hidden(written, spans)
	a.log.extents.hide(written, spans)
	reading := time.Now()
	if err := a.read(ctx, spans, began); err != nil {
		return Report{}, err
	}
	read := time.Now()
	r := &reconciliation{
		log: a.log, rows: rows, state: state, differences: differences,
		since: microsOf(a.cfg.Since), hidden: a.hidden, forgotten: a.log.extents.forgotten(a.cfg.Retention),
	}
	if err := r.reconcile(ctx); err != nil {
		return Report{}, err
	}
	if err := a.conclude(ctx, &r.report, differences); err != nil {
		return Report{}, err
	}
	a.took = time.Since(read) + reading.Sub(began)
	return r.report, nil
}

// conclude counts the differences that there were in every look before, and
// keeps the first of them by order id. An order that only now looks lost was not
// there at the first look: it is on its way.
func (a *Auditor) conclude(ctx context.Context, report *Report, differences *extsort.Sorter) error {
	kept := extsort.New(a.cfg.Dir, small)
	known := &extsort.Reader{}
	if a.kept != nil {
		var err error
		if known, err = extsort.Merge(a.kept); err != nil {
			return errors.Join(err, kept.Close())
		}
	}
	report.Kinds, report.Differences = map[Kind]int64{}, []Difference{}
	var here []Difference // those with one key
	more := known.Next()
	err := groups(ctx, func(value []byte) error {
		d, err := take(value, &Difference{})
		here = append(here, *d)
		return err
	}, func(key []byte) error {
		defer func() { here = here[:0] }()
		for more && bytes.Compare(known.Key(), key) < 0 {
			more = known.Next()
		}
		if a.kept != nil && (!more || !bytes.Equal(known.Key(), key)) {
			for _, d := range here {
				report.Unaccounted, report.InFlight = report.Unaccounted.less(d.missing), report.InFlight.And(d.missing)
			}
			return known.Err()
		}
		for _, d := range here {
			report.Kinds[d.Kind]++
			report.DifferenceCount++
			report.DifferenceAmount = report.DifferenceAmount.plus(d.Amount)
			if len(report.Differences) < max(a.cfg.Limit, 1) {
				report.Differences = append(report.Differences, d)
			}
		}
		return errors.Join(known.Err(), kept.Add(key, nil))
	}, differences)
	if err != nil {
		return errors.Join(err, kept.Close())
	}
	report.AccountedFor = report.DifferenceCount == 0 && len(report.CannotTellWhy) == 0
	err = a.forget()
	a.kept = kept
	return err
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
func (a *Auditor) read(ctx context.Context, spans []kafka.Span, now time.Time) error {
	whole := slices.Clone(spans)
	if a.ends == nil {
		a.ends = map[record.Partition]int64{}
		if a.cfg.From != nil && !a.cfg.Since.IsZero() {
			var err error
			if spans, err = a.cfg.From(spans, a.cfg.Since); err != nil {
				return err
			}
		}
	}
	var all int64
	for i, s := range spans {
		if end, ok := a.ends[s.Partition]; ok {
			if s.Start > end || s.End < end {
				return fmt.Errorf("%w: %s was read up to offset %d, and now begins at %d and ends at %d", ErrLogChanged, s.Partition, end, s.Start, s.End)
			}
			spans[i].Start = end
		}
		a.ends[s.Partition] = s.End
		all += s.End - spans[i].Start
	}
	a.log.extents.extend(spans, whole, now)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()
	var mu sync.Mutex
	done := int64(0)
	err := a.cfg.Scan(ctx, spans, func(r record.Record) error {
		timer.Reset(stall)
		if err := a.log.add(r); err != nil {
			return err
		}
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

// sorters are all that the rows are kept in.
func (r *Rows) sorters() []*extsort.Sorter { return []*extsort.Sorter{r.orders, r.origins, r.minutes} }

func (l *log) sorters() []*extsort.Sorter { return []*extsort.Sorter{l.orders, l.letters, l.origins} }

// forgotten is the time before which the services may have removed what is
// decided: no later than so long before the newest record, whatever any clock
// says. Zero stands for services that keep everything.
func (x *extents) forgotten(retention time.Duration) micros {
	if retention == 0 || x.newest == 0 {
		return 0
	}
	return max(min(x.now, x.newest)-micros(retention.Microseconds()), 0)
}
