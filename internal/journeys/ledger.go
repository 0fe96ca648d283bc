package journeys

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are those of the ledger's tables, in a folder migrations.
func Migrations() fs.FS { return migrations }

// DefaultObjective is the time within which an order is to be decided and visible.
const DefaultObjective = 5 * time.Second

const (
	// lookInterval is how often the brokers are asked while an order is on its way, and
	// restInterval how often otherwise.
	lookInterval = 500 * time.Millisecond
	restInterval = 2 * time.Second
	// portion is how many orders are judged in one transaction: it bounds how long
	// others are kept from writing.
	portion = 500
)

// Brokers is what is asked of the cluster beside reading the topics.
type Brokers interface {
	// Ends returns where the topics' logs end for readers of what is committed.
	Ends(ctx context.Context, topics ...string) (map[record.Partition]int64, error)
	// Committed returns a group's offsets in topics, of those partitions where it has any.
	Committed(ctx context.Context, group string, topics ...string) (map[record.Partition]int64, error)
	// Holds says whether a record stands in a span.
	Holds(ctx context.Context, s kafka.Span) (bool, error)
}

// Config is what a ledger needs.
type Config struct {
	// Objective is the time within which an order is to be decided and visible. Default
	// [DefaultObjective].
	Objective time.Duration
	Store     *storage.Store // with [Migrations]
	Telemetry *telemetry.Telemetry
	Clocks    storage.Clocks // nil for the system's
	Log       *slog.Logger
	// Probed is told of each decision on a probe that is read, perhaps more than once: a probe
	// is no order, and followed by nobody here. It may be nil.
	Probed func(orderID string)
}

// Ledger follows the orders. Its methods are safe for concurrent use, but for [Ledger.Run],
// which is called once.
type Ledger struct {
	objective micros
	store     store
	watch     *watch
	log       *slog.Logger
	visible   metric.Float64Histogram
	handler   *follower
	wake      chan struct{}
	registry  metric.Registration
	hollow    map[kafka.Span]bool // spans that hold no record, of Run alone

	mu      sync.Mutex
	figures figures
}

// Open makes a ledger in a storage, and exports what that has counted. [Ledger.Close] ends it.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	if cfg.Clocks == nil {
		cfg.Clocks = storage.SystemClocks()
	}
	if cfg.Probed == nil {
		cfg.Probed = func(string) {}
	}
	instruments := cfg.Telemetry.Instruments()
	decision, err := instruments.Float64Histogram(DecisionSeconds)
	if err != nil {
		return nil, err
	}
	visible, err := instruments.Float64Histogram(VisibleSeconds)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		objective: micros(cmp.Or(cfg.Objective, DefaultObjective).Microseconds()), store: store{cfg.Store}, watch: newWatch(cfg.Clocks), log: cfg.Log,
		visible: visible, wake: make(chan struct{}, 1), hollow: map[kafka.Span]bool{},
	}
	l.handler = &follower{store: l.store, watch: l.watch, decision: decision, woken: l.woken, probed: cfg.Probed}
	l.figures.since = l.watch.now()
	if err := l.store.BringBack(ctx, l.watch.now()); err != nil {
		return nil, err
	}
	if err := l.count(ctx, 0); err != nil {
		return nil, err
	}
	l.registry, err = l.export(instruments)
	return l, err
}

// Close takes the metrics off the page.
func (l *Ledger) Close() error { return l.registry.Unregister() }

// Handler is what a delivery loop calls that reads the topics of [banking.GroupSentinelle].
func (l *Ledger) Handler() delivery.Handler[struct{}, *fact] { return l.handler }

// Forget removes what nothing can change any more and is older than a time.
func (l *Ledger) Forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	return l.store.Forget(ctx, tx, before, limit)
}

func (l *Ledger) woken() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run judges the orders until ctx ends: twice a second while one is on its way. What fails is tried
// again, and shows as the age of what was seen.
func (l *Ledger) Run(ctx context.Context, brokers Brokers) error {
	failing := false
	for ctx.Err() == nil {
		busy, err := l.round(ctx, brokers)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // a request to stop is no failure
		case err != nil && !failing:
			l.log.WarnContext(ctx, "orders cannot be followed; trying again", "error", err)
		case err == nil && failing:
			l.log.InfoContext(ctx, "orders are followed again")
		}
		failing = err != nil
		if !busy && !failing {
			rest := time.NewTimer(restInterval)
			select {
			case <-ctx.Done():
			case <-l.wake:
			case <-rest.C:
			}
			rest.Stop()
		}
		_ = lifecycle.Sleep(ctx, lookInterval)
	}
	return nil
}

// round looks at the brokers once and judges what can be judged. It says whether orders are on
// their way.
func (l *Ledger) round(ctx context.Context, brokers Brokers) (busy bool, err error) {
	s := sample{at: l.watch.now()}
	shown, err := brokers.Committed(ctx, banking.GroupSuivi, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	if err != nil {
		return false, err
	}
	passed, err := brokers.Committed(ctx, banking.GroupPaiement, banking.TopicOrdersCreated)
	if err != nil {
		return false, err
	}
	s.shown, s.passed = byLog(shown), byLog(passed)
	s.looked = l.watch.now()
	if s.ends, err = brokers.Ends(ctx, banking.ReadBy(banking.GroupSentinelle)...); err != nil {
		return false, err
	}
	l.watch.look(s)
	next, err := l.store.Positions(ctx)
	if err != nil {
		return false, err
	}
	seen := l.watch.read(next, func(p record.Partition, from, to int64) bool {
		return l.isHollow(ctx, brokers, kafka.Span{Partition: p, Start: from, End: to})
	})
	if err := l.judge(ctx, horizon{l.objective, seen, l.watch.passed()}); err != nil {
		return false, err
	}
	if err := l.count(ctx, seen); err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.figures.waiting > 0, nil
}

// isHollow asks once whether a span holds no record, but the marker of a transaction, say.
func (l *Ledger) isHollow(ctx context.Context, brokers Brokers, s kafka.Span) bool {
	const kept = 64
	if known, ok := l.hollow[s]; ok {
		return known
	}
	held, err := brokers.Holds(ctx, s)
	if err != nil || held {
		return false
	}
	if len(l.hollow) >= kept {
		clear(l.hollow)
	}
	l.hollow[s] = true
	return true
}

// judge judges what was shown since, and what is due.
func (l *Ledger) judge(ctx context.Context, h horizon) error {
	shown := l.watch.shown()
	for log, before := range shown {
		for more := true; more; {
			ids, err := l.store.Invisible(ctx, place{log, before}, portion)
			if err == nil && len(ids) > 0 {
				more, err = l.show(ctx, ids, h, shown)
			}
			if err != nil {
				return err
			}
			more = more && len(ids) > 0
		}
	}
	for {
		ids, err := l.store.Uncounted(ctx, h.seen-l.objective/2, portion)
		if err != nil || len(ids) == 0 {
			return err
		}
		counted, err := l.store.Judge(ctx, ids, h, nil)
		if err != nil {
			return err
		}
		if len(counted) == 0 { // what is left is on its way
			return nil
		}
		l.tell(ctx, counted)
	}
}

// show notes which decisions were shown, and judges their orders. It says whether there were any.
func (l *Ledger) show(ctx context.Context, ids []string, h horizon, shown map[int64]int64) (some bool, err error) {
	took := map[string]micros{} // by order: the change may be run again
	counted, err := l.store.Judge(ctx, ids, h, func(o *order) {
		if o.stage() != invisible || o.resultAt.offset >= shown[o.resultAt.log] {
			return
		}
		at, watched := l.watch.shownAt(o.resultAt, o.decided)
		some = true
		if o.visible = at; watched {
			took[o.id+" "+o.event] = max(0, at-o.accepted)
		}
	})
	if err != nil {
		return false, err
	}
	for _, t := range took {
		l.visible.Record(ctx, t.seconds())
	}
	l.tell(ctx, counted)
	return some, nil
}

// tell logs what must not be.
func (l *Ledger) tell(ctx context.Context, counted map[Outcome]int64) {
	for _, outcome := range slices.Sorted(maps.Keys(counted)) {
		switch outcome {
		case Lost, Contradictory:
			l.log.ErrorContext(ctx, "orders do not end as they should: `vigie audit` names them", "outcome", outcome, "orders", counted[outcome])
		default:
		}
	}
}

// maxSamples bounds what is remembered of the past: two minutes of looks, and of longer ago
// ever fewer.
const maxSamples = 256

// settle is far more than an instance takes that publishes what the one before it left behind.
const settle = micros(30e6)

// maxGap is how far apart two looks may be for the second to say when something happened.
const maxGap = micros(3 * time.Second / time.Microsecond)

// sample is what one look at the brokers saw.
type sample struct {
	at     micros // when it began: the rest was so then, or later
	looked micros // when the offsets were known; the ends were asked for after that
	ends   map[record.Partition]int64
	// shown and passed are the offsets that suivi and paiement have committed, by log.
	shown, passed map[int64]int64
}

// watch knows when what stood where. It goes by a time of its own: the time of day when it
// began, and what has elapsed since. A clock that is set moves nothing; and a record's own time
// counts only as far as it fits to when the logs were seen to end before and behind it.
type watch struct {
	clocks storage.Clocks
	began  storage.Instant

	mu      sync.Mutex
	samples []sample // oldest first
	seen    micros   // all that was written before has been read; 0: not known
}

func newWatch(clocks storage.Clocks) *watch { return &watch{clocks: clocks, began: clocks()} }

// now is the time by which all is judged here.
func (w *watch) now() micros {
	return microsOf(w.began.Wall.Add(w.clocks().Elapsed - w.began.Elapsed))
}

// look adds what a look saw.
func (w *watch) look(s sample) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) >= maxSamples {
		kept := w.samples[:0]
		for i, old := range w.samples {
			if i%2 == 1 || i > maxSamples*3/4 {
				kept = append(kept, old)
			}
		}
		w.samples = kept
	}
	w.samples = append(w.samples, s)
}

// read notes how far the logs have been read, and returns the time up to which all that was
// written is known; 0 where that is not known yet. empty says whether offsets from one to another
// are known to hold no record.
func (w *watch) read(next map[record.Partition]int64, empty func(p record.Partition, from, to int64) bool) micros {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range slices.Backward(w.samples) {
		if s.at <= w.seen {
			break
		}
		behind := false
		for p, end := range s.ends {
			from, known := next[p]
			if end > 0 && (!known || from < end && !empty(p, from, end)) {
				behind = true
				break
			}
		}
		if !behind {
			w.seen = s.at
			break
		}
	}
	return w.seen
}

// written is when a record was written: its own time, unless the logs say that it was earlier
// or later than that.
func (w *watch) written(at record.Place, own time.Time) micros {
	w.mu.Lock()
	defer w.mu.Unlock()
	earliest, latest := micros(1), w.now()
	i := sort.Search(len(w.samples), func(i int) bool { return w.samples[i].ends[at.Partition] > at.Offset })
	if i > 0 {
		earliest = w.samples[i-1].at
	}
	if i+1 < len(w.samples) { // the ends were asked for before the next look
		latest = w.samples[i+1].at
	}
	t := latest
	if own.UnixMicro() > 0 {
		t = microsOf(own)
	}
	return max(earliest, min(t, latest))
}

// shownAt is when the decision at a place, written at a time, was seen to be shown; watched says that
// it is about right. Where nobody looked at that moment, it is the earliest that it can have
// been.
func (w *watch) shownAt(at place, decided micros) (t micros, watched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := sort.Search(len(w.samples), func(i int) bool { return w.samples[i].shown[at.log] > at.offset })
	if i == 0 || i == len(w.samples) {
		return decided, false
	}
	last := w.samples[i-1].looked
	if s := w.samples[i]; s.looked-last <= maxGap {
		return max(decided, s.looked), true
	}
	return max(decided, last), false
}

// shown returns the offsets up to which decisions were shown at the last look.
func (w *watch) shown() map[int64]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) == 0 {
		return nil
	}
	return maps.Clone(w.samples[len(w.samples)-1].shown)
}

// passed says how far who decides is with a record of orders.created. They commit after all that they
// published of it, which has been read here, with one exception: an instance that takes a partition over
// commits what its storage has before it publishes what the instance before left behind. But it
// reads on after that alone. So they are done with a record for certain once they have committed
// beyond it and then moved on, and as good as certain after a time in which any would have published.
// It returns nil where nothing is known.
func (w *watch) passed() func(at place) progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := sort.Search(len(w.samples), func(i int) bool { return w.samples[i].at > w.seen })
	if w.seen == 0 || n == 0 {
		return nil
	}
	known := slices.Clone(w.samples[:n])
	return func(at place) progress {
		last := &known[n-1]
		committed := last.passed[at.log]
		if at.offset >= committed {
			return ahead
		}
		for i := range slices.Backward(known) {
			s := &known[i]
			if s.passed[at.log] <= at.offset { // it has just been committed
				break
			}
			if s.passed[at.log] < committed || last.looked-s.looked >= settle {
				return done
			}
		}
		return committing
	}
}

// Cluster asks a cluster by a client.
type Cluster struct{ *kafka.Client }

// Ends implements [Brokers].
func (c Cluster) Ends(ctx context.Context, topics ...string) (map[record.Partition]int64, error) {
	return kafka.Cluster{Client: c.Client}.Ends(ctx, topics...)
}

// Committed implements [Brokers].
func (c Cluster) Committed(_ context.Context, group string, topics ...string) (map[record.Partition]int64, error) {
	all := map[record.Partition]int64{}
	for _, topic := range topics {
		of, err := kafka.Committed(c.Client, group, topic)
		if err != nil {
			return nil, fmt.Errorf("read how far %s is: %w", group, err)
		}
		maps.Copy(all, of)
	}
	return all, nil
}
