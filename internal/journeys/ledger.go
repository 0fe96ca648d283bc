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
		objective: spanOf(cmp.Or(cfg.Objective, DefaultObjective)), store: store{cfg.Store}, watch: newWatch(cfg.Clocks), log: cfg.Log,
		visible: visible, wake: make(chan struct{}, 1), hollow: map[kafka.Span]bool{},
	}
	l.handler = &follower{store: l.store, watch: l.watch, decision: decision, woken: l.woken}
	l.figures.since = l.watch.now()
	if err := l.count(ctx); err != nil {
		return nil, err
	}
	l.registry, err = instruments.Observe(observed(), l.observe)
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
	if s.shown, err = brokers.Committed(ctx, banking.GroupSuivi, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); err != nil {
		return false, err
	}
	if s.passed, err = brokers.Committed(ctx, banking.GroupPaiement, banking.TopicOrdersCreated); err != nil {
		return false, err
	}
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
	if err := l.judge(ctx, horizon{l.objective, seen, l.watch.passed(l.objective / 2)}); err != nil {
		return false, err
	}
	if err := l.count(ctx); err != nil {
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
	for p, before := range shown {
		at := placeOf(record.Place{Partition: p, Offset: before})
		for more := true; more; {
			ids, err := l.store.Invisible(ctx, at, portion)
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
func (l *Ledger) show(ctx context.Context, ids []string, h horizon, shown map[record.Partition]int64) (some bool, err error) {
	took := map[string]micros{} // by order: the change may be run again
	counted, err := l.store.Judge(ctx, ids, h, func(o *order) {
		p := o.resultAt.partition()
		if o.stage() != invisible || o.resultAt.offset >= shown[p] {
			return
		}
		at, watched := l.watch.shownAt(record.Place{Partition: p, Offset: o.resultAt.offset}, o.decided)
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

// count reads what there is to export.
func (l *Ledger) count(ctx context.Context) error {
	f, err := l.store.figures(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.since, f.seen = l.figures.since, l.watch.upTo()
	l.figures = f
	return nil
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
