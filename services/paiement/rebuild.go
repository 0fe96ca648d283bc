package paiement

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	// rebuildBatch is how many entries are stored in one transaction.
	rebuildBatch = 500
	// rebuildNews is how often a rebuild logs how far it is.
	rebuildNews = 10 * time.Second
)

// rebuild fills a ledger that has not read any order with what the topics say
// was settled. It may be new because its folder was lost or reset; what was
// decided or purged before is still final, and is not to be decided again.
type rebuild struct {
	store    store
	log      kafka.Log
	logger   *slog.Logger
	now      func() time.Time
	progress *rebuildProgress
}

// run rebuilds the ledger where that is needed. A rebuild that was cut short is
// begun again: positions are stored once it has been done.
func (r *rebuild) run(ctx context.Context) error {
	if needed, err := r.needed(ctx); !needed || err != nil {
		return err
	}
	begun := r.now()
	decisions, err := r.log.Bounds(ctx, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	if err != nil {
		return err
	}
	purges, err := r.log.Bounds(ctx, banking.TopicOrdersDLQ)
	if err != nil {
		return err
	}
	r.progress.begin(length(decisions) + length(purges))
	defer r.progress.end()
	defer r.tell(ctx)()
	// Decisions first: a purge of an order that has been decided came too late.
	decided, err := r.read(ctx, decisions, decisionOf)
	if err != nil {
		return fmt.Errorf("rebuild ledger from decisions: %w", err)
	}
	purged, err := r.read(ctx, purges, func(letter record.Record) (entry, bool) {
		order, event, ok := purgeOf(letter)
		return entry{OrderID: order, EventID: event, Status: banking.StatusPurged, ProcessedAt: begun}, ok
	})
	if err != nil {
		return fmt.Errorf("rebuild ledger from purges: %w", err)
	}
	from := horizon(decided, purged, begun)
	needed, err := r.needed(ctx) // else another instance was quicker, and has set the same
	if err != nil {
		return err
	}
	if needed && !from.IsZero() {
		if err := r.store.Update(ctx, func(tx *storage.Tx) error { return raise(ctx, tx, from) }); err != nil {
			return err
		}
		r.logger.WarnContext(ctx, "the topics no longer have every decision: orders that are older are set aside, not decided", "decides_from", from)
	}
	if decided.entries+purged.entries > 0 {
		r.logger.InfoContext(ctx, "ledger rebuilt from published decisions", "decisions", decided.entries, "purges", purged.entries)
	}
	return nil
}

// needed says whether no order has been read yet.
func (r *rebuild) needed(ctx context.Context) (bool, error) {
	for id := range int32(banking.Partitions) {
		_, known, err := r.store.Position(ctx, record.Partition{Topic: banking.TopicOrdersCreated, ID: id})
		if known || err != nil {
			return false, err
		}
	}
	return true, nil
}

// horizon is the time from which on the topics have every decision and purge;
// zero where nothing has been cut from them.
//
// Of a partition whose beginning was cut, every decision is known since the
// first that is left. Purges are sparser, and are cut for their age alone, so
// that each is known that is younger than that, too.
func horizon(decided, purged reading, now time.Time) time.Time {
	var from time.Time
	later := func(t time.Time) {
		if t = t.Add(skew); t.After(now) {
			t = now // what is placed from now on has not been decided
		}
		if t.After(from) {
			from = t
		}
	}
	for _, p := range decided.cut {
		later(p.since(now))
	}
	for _, p := range purged.cut {
		since := p.since(now)
		if aged := now.Add(-retentionOf(banking.TopicOrdersDLQ)); aged.Before(since) {
			since = aged
		}
		later(since)
	}
	return from.Truncate(time.Microsecond)
}

func retentionOf(topic string) time.Duration {
	for _, t := range banking.Topics() {
		if t.Name == topic {
			return t.Retention
		}
	}
	return 0
}

// reading is what a read of several partitions has found.
type reading struct {
	entries int                           // that were read, also those that the ledger had
	cut     map[record.Partition]cutStart // of those that no longer have their beginning
}

// cutStart is the first record that is left of a partition; the zero value for
// none.
type cutStart struct{ at time.Time }

// since is from when on the partition has everything: the time of its first
// record. Without one, or one that could be believed, it is now.
func (c cutStart) since(now time.Time) time.Time {
	if c.at.UnixMilli() <= 0 || c.at.After(now) {
		return now
	}
	return c.at
}

// read takes what the spans hold into the ledger, unless it has it.
func (r *rebuild) read(ctx context.Context, spans []kafka.Span, entryOf func(record.Record) (entry, bool)) (reading, error) {
	out := reading{cut: map[record.Partition]cutStart{}}
	for _, s := range spans {
		if s.Start > 0 {
			out.cut[s.Partition] = cutStart{}
		}
	}
	var mu sync.Mutex // several partitions are read at once
	var batch []entry
	flush := func() error {
		rows := make([][]any, len(batch))
		for i, e := range batch {
			rows[i] = e.row()
		}
		out.entries, batch = out.entries+len(batch), nil
		return r.store.Update(ctx, func(tx *storage.Tx) error { return tx.InsertRows(ctx, insertEntriesIfNone, rows) })
	}
	err := r.log.Scan(ctx, spans, func(record record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		r.progress.step()
		if start, cut := out.cut[record.Partition]; cut && start.at.IsZero() {
			out.cut[record.Partition] = cutStart{record.Time}
		}
		e, ok := entryOf(record)
		if !ok {
			return nil
		}
		if batch = append(batch, e); len(batch) < rebuildBatch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return out, err
	}
	return out, flush()
}

// decisionOf reads a published decision. What is none says nothing about the
// ledger; the topic's readers set it aside.
func decisionOf(decided record.Record) (entry, bool) {
	event, err := delivery.Decode(decided)
	if err != nil {
		return entry{}, false
	}
	// Without its cause, a decision still keeps its order from being decided
	// again: no event can then be the one that it was decided for.
	e := entry{
		OrderID: event.Order(), EventID: decided.Header(record.HeaderOriginalEventID), ResultEventID: event.ID(),
		ProcessedAt: event.Time(),
	}
	switch p := event.(type) {
	case banking.PaymentAuthorized:
		e.Status, e.Amount = p.Status, p.Amount
	case banking.PaymentRejected:
		e.Status, e.Amount = p.Status, p.Amount
	default:
		return entry{}, false
	}
	return e, true
}

// tell logs how far the rebuild is until the function that it returns is called.
func (r *rebuild) tell(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(rebuildNews)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				r.logger.InfoContext(ctx, "rebuilding the ledger", "records_read", r.progress.done.Load(), "records", r.progress.total.Load())
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// rebuildProgress says how far a rebuild is, to those who ask meanwhile.
type rebuildProgress struct {
	underWay    atomic.Bool
	done, total atomic.Int64
}

func (p *rebuildProgress) begin(total int64) {
	p.total.Store(total)
	p.done.Store(0)
	p.underWay.Store(true)
}

func (p *rebuildProgress) step() { p.done.Add(1) }
func (p *rebuildProgress) end()  { p.underWay.Store(false) }

// left is how many records are still to be read; offsets without a record,
// such as those of markers, count until the end.
func (p *rebuildProgress) left() int64 {
	if !p.underWay.Load() {
		return 0
	}
	return p.total.Load() - p.done.Load()
}

// Check is a readiness check: it fails while the ledger is rebuilt.
func (p *rebuildProgress) Check(context.Context) error {
	if !p.underWay.Load() {
		return nil
	}
	return fmt.Errorf("rebuilding from the topics, %d of %d records read", p.done.Load(), p.total.Load())
}

// length is how many offsets the spans cover.
func length(spans []kafka.Span) (n int64) {
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}
