package paiement

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	// rebuildBatch is how many entries are stored in one transaction.
	rebuildBatch = 500
	// rebuildNews is how often a rebuild logs how far it is.
	rebuildNews = 10 * time.Second
)

// readBackInterval is how often a ledger in use reads back what was published
// since: its own decisions, so that a start has little to read.
const readBackInterval = time.Hour

// Where a topic has been read back that took the place of another one. What that had is
// before its first record.
const (
	replaced = -1 // the ledger does not know it
	alone    = -2 // the ledger has all of it
)

const (
	selectReadBack = `SELECT topic, partition, next_offset FROM read_back`
	insertReadBack = `INSERT INTO read_back (topic, partition, next_offset) VALUES ($1, $2, $3)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset`
)

// settlements are the topics that say what became of orders.
func settlements() []string {
	return []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ}
}

// rebuild reads back what the topics say was settled and the ledger does not
// know. A ledger may be new because its folder was lost or reset, or an older copy
// that somebody has restored; what was decided or purged since is still final, and
// is not to be decided again.
type rebuild struct {
	store    store
	log      kafka.Log
	logger   *slog.Logger
	now      func() time.Time
	progress *rebuildProgress
	// began is what paiement's group says that it began with; nil where nobody has to ask.
	began func(context.Context) (kafka.Began, error)
}

// run reads back what has been added since the last time. One that is cut short
// is begun again.
func (r *rebuild) run(ctx context.Context) error {
	r.progress.begin()
	defer r.progress.end()
	begun := r.now()
	known, inUse, err := r.readBefore(ctx)
	if err != nil {
		return err
	}
	var began kafka.Began
	if r.began != nil {
		if began, err = r.began(ctx); err != nil {
			return err
		}
	}
	whole := len(known) == 0 && inUse // an earlier version has kept the ledger
	missing, ours := newGaps(), newGaps()
	spans, err := r.spans(ctx, known, inUse, began.Others, missing, ours)
	if err != nil {
		return err
	}
	r.progress.total.Store(kafka.Length(spans))
	stop := r.tell(ctx)
	defer stop()
	hole := func(s kafka.Span) {
		if s.End > known[s.Partition] {
			missing.hole(s)
		}
	}
	event := func(record record.Record) { missing.event(record); ours.event(record) }
	if err := r.readAll(ctx, spans, begun, event, hole); err != nil {
		return err
	}
	if whole {
		missing = newGaps()
	}
	return r.conclude(ctx, spans, began, missing, ours, begun)
}

// readAll takes what the spans hold into the ledger: decisions first, since a purge of an
// order that has been decided came too late.
func (r *rebuild) readAll(ctx context.Context, spans []kafka.Span, begun time.Time, event func(record.Record), hole func(kafka.Span)) error {
	decisions, purges := split(spans)
	decided, err := r.read(ctx, decisions, event, hole, decisionOf)
	if err != nil {
		return fmt.Errorf("rebuild ledger from decisions: %w", err)
	}
	var aside []record.Origin
	purged, err := r.read(ctx, purges, event, hole, func(letter record.Record) (LedgerRow, bool) {
		if origin, ok := setAside(letter); ok {
			aside = append(aside, origin)
		}
		order, event, ok := purgeOf(letter)
		return LedgerRow{OrderID: order, EventID: event, Status: banking.StatusPurged, ProcessedAt: begun}, ok
	})
	if err == nil {
		err = r.store.addSetAside(ctx, aside)
	}
	if err != nil {
		return fmt.Errorf("rebuild ledger from dead letters: %w", err)
	}
	if decided+purged > 0 {
		r.logger.InfoContext(ctx, "ledger rebuilt from what was published", "decisions", decided, "purges", purged)
	}
	return nil
}

// conclude stores that everything has been read, and from when on the ledger knows
// everything: after what is missing, and after what the group's offsets say that only
// another ledger knew. What only this one knows is kept for the next.
func (r *rebuild) conclude(ctx context.Context, spans []kafka.Span, began kafka.Began, missing, ours *gaps, begun time.Time) error {
	whats := missing.whats()
	from, err := r.horizon(ctx, missing, begun)
	if err != nil {
		return err
	}
	only, err := r.horizon(ctx, ours, begun)
	if err != nil {
		return err
	}
	own, err := r.store.Alone(ctx)
	if err != nil {
		return err
	}
	said := saidAlone(began)
	if len(only) > 0 {
		only[generation] = max(own[generation], said[generation]) + 1
	}
	if said[generation] > own[generation] {
		whats = append(whats, "another ledger was alone in knowing what topics held that were made again")
		raiseAll(only, said)
		delete(said, generation)
		raiseAll(from, said)
	}
	if err := r.done(ctx, spans, from, only); err != nil {
		return err
	}
	if len(from) > 0 {
		r.logger.WarnContext(ctx, "the topics no longer have every decision and purge: orders that are older are set aside, not decided",
			"decides_from", time.UnixMicro(from[horizonName]).UTC(), "missing", whats)
	}
	return nil
}

// raiseAll raises rows to others.
func raiseAll(rows, to map[string]int64) {
	for name, value := range to {
		rows[name] = max(rows[name], value)
	}
}

// setAside reads a record of the dead letters: where the record of orders.created
// stands that paiement has set aside with it, if it is such a letter. One without
// an event id is none: nothing says that the record there is still the same.
func setAside(r record.Record) (record.Origin, bool) {
	origin, _, err := record.ParseOrigin(r)
	ours := err == nil && origin.Group == banking.GroupPaiement && origin.Place.Topic == banking.TopicOrdersCreated
	return origin, ours && origin.EventID != ""
}

// addSetAside adds records that were set aside, but for those that the storage is
// past: it has set them aside itself.
func (s store) addSetAside(ctx context.Context, origins []record.Origin) error {
	next := map[record.Partition]int64{}
	var rows [][]any
	for _, o := range origins {
		p := o.Place
		if _, known := next[p.Partition]; !known {
			position, _, err := s.Position(ctx, p.Partition)
			if err != nil {
				return err
			}
			next[p.Partition] = position
		}
		if p.Offset >= next[p.Partition] {
			rows = append(rows, []any{p.ID, p.Offset, o.EventID})
		}
	}
	for chunk := range slices.Chunk(rows, rebuildBatch) {
		if err := s.Update(ctx, func(tx *storage.Tx) error { return tx.InsertRows(ctx, insertSetAside, chunk) }); err != nil {
			return fmt.Errorf("add records that were set aside: %w", err)
		}
	}
	return nil
}

// whats says what is missing, in the order of the partitions' names.
func (g *gaps) whats() []string {
	var out []string
	for _, one := range g.all {
		out = append(out, one.what)
	}
	slices.Sort(out)
	return out
}

// horizon is what is before the horizon for what is missing, as its rows: a time, and
// the orders that are there now, where it says little. None where nothing is missing.
func (r *rebuild) horizon(ctx context.Context, missing *gaps, now time.Time) (rows map[string]int64, err error) {
	rows = map[string]int64{}
	from, open, err := missing.horizon(now, func() (time.Time, error) { return r.newest(ctx, now) })
	if err != nil || from.IsZero() {
		return rows, err
	}
	rows[horizonName] = from.UnixMicro()
	if !open {
		return rows, nil
	}
	orders, err := r.log.Bounds(ctx, banking.TopicOrdersCreated)
	for _, s := range orders {
		rows[s.String()] = s.End
	}
	return rows, err
}

// split tells the spans of decisions from those of purges.
func split(spans []kafka.Span) (decisions, purges []kafka.Span) {
	for _, s := range spans {
		if s.Topic == banking.TopicOrdersDLQ {
			purges = append(purges, s)
		} else {
			decisions = append(decisions, s)
		}
	}
	return decisions, purges
}

// readBefore returns up to where the topics have been read back before, and
// whether orders have been read with this ledger.
func (r *rebuild) readBefore(ctx context.Context) (known map[record.Partition]int64, inUse bool, err error) {
	known, err = r.readBackTo(ctx)
	for id := range int32(banking.Partitions) {
		if err != nil {
			break
		}
		var read bool
		_, read, err = r.store.Position(ctx, record.Partition{Topic: banking.TopicOrdersCreated, ID: id})
		inUse = inUse || read
	}
	if err != nil {
		return nil, false, fmt.Errorf("look up to where the ledger was read back: %w", err)
	}
	return known, inUse, nil
}

func (r *rebuild) readBackTo(ctx context.Context) (map[record.Partition]int64, error) {
	rows, err := r.store.Query(ctx, selectReadBack)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	known := map[record.Partition]int64{}
	for rows.Next() {
		var p record.Partition
		var next int64
		if err := rows.Scan(&p.Topic, &p.ID, &next); err != nil {
			return nil, err
		}
		known[p] = next
	}
	return known, rows.Err()
}

// spans is what is left to read of the decisions and purges: everything that
// stands there now. What an open transaction hides is waited for, since a decision
// that stands behind it is final all the same.
//
// A ledger with which no order has been read, as after a reset, reads all dead
// letters again: it has to know which records wait there.
//
// Topics that took the place of others begin with a gap, of which only we know: that it is
// there, or even what stood in it. That they are others the group says to a ledger that is new, since another was
// lost, or has been reset; what is known of them is then of the others, and is corrected.
func (r *rebuild) spans(
	ctx context.Context, known map[record.Partition]int64, inUse bool, others []string, missing, ours *gaps,
) ([]kafka.Span, error) {
	var loggedAt time.Time
	waiting := func(hidden error) error {
		r.progress.wait(hidden)
		if now := time.Now(); now.Sub(loggedAt) >= rebuildNews {
			loggedAt = now
			r.logger.WarnContext(ctx, "the ledger waits for what was published", "error", hidden)
		}
		return nil
	}
	spans, err := kafka.WholeBounds(ctx, r.log, waiting, settlements()...)
	if err != nil {
		return nil, fmt.Errorf("look for what was published: %w", err)
	}
	r.progress.wait(nil)
	for i, s := range spans {
		if !inUse && slices.Contains(others, s.Topic) && known[s.Partition] >= 0 {
			known[s.Partition] = replaced
		}
		switch next := known[s.Partition]; {
		case next < 0:
			ours.cut(s.Partition, s.Start, next)
			if next == replaced || s.Start > 0 {
				missing.cut(s.Partition, s.Start, next)
			}
		case next > s.End: // the log has lost its end, and others may stand there since
		case next < s.Start:
			missing.cut(s.Partition, s.Start, next)
		case inUse || s.Topic != banking.TopicOrdersDLQ:
			spans[i].Start = next
		}
	}
	return spans, nil
}

// done stores that everything has been read, the horizon, and what only this ledger knows.
func (r *rebuild) done(ctx context.Context, spans []kafka.Span, from, only map[string]int64) error {
	return r.store.Update(ctx, func(tx *storage.Tx) error {
		for _, s := range spans {
			if _, err := tx.Exec(ctx, insertReadBack, s.Topic, s.ID, s.End); err != nil {
				return fmt.Errorf("store up to where the ledger was read back: %w", err)
			}
		}
		for name, to := range from {
			if err := raiseRow(ctx, tx, name, to); err != nil {
				return err
			}
		}
		return becomeAlone(ctx, tx, only)
	})
}

// again reads back in intervals, until ctx ends.
func (r rebuild) again(ctx context.Context) error {
	r.progress = &rebuildProgress{} // it delays nobody
	r.began = nil                   // topics stay what they are while it runs
	return lifecycle.Every(ctx, readBackInterval, func(ctx context.Context) error {
		if err := r.run(ctx); err != nil && ctx.Err() == nil {
			r.logger.WarnContext(ctx, "decisions not read back; the next round tries again", "error", err)
		}
		return nil
	})
}

// read takes what the spans hold into the ledger, unless it has it, gives every record to
// event and what they lack to hole, and returns how many entries the ledger did not have.
func (r *rebuild) read(
	ctx context.Context, spans []kafka.Span, event func(record.Record), hole func(kafka.Span), entryOf func(record.Record) (LedgerRow, bool),
) (entries int64, err error) {
	var mu sync.Mutex // several partitions are read at once
	var batch []LedgerRow
	flush := func() error {
		rows := make([][]any, len(batch))
		times := make([]time.Time, len(batch))
		for i, e := range batch {
			rows[i], times[i] = e.row(), e.ProcessedAt
		}
		batch = nil
		added := int64(0)
		err := r.store.Update(ctx, func(tx *storage.Tx) (err error) {
			// Each bears the time of the clock by which it was decided.
			if added, err = tx.InsertRowsCounting(ctx, insertEntriesIfNone, rows); err != nil || added == 0 {
				return err
			}
			return tx.Hold(ctx, times...)
		})
		entries += added
		return err
	}
	err = r.log.ScanHoles(ctx, spans, func(record record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		r.progress.step()
		event(record)
		e, ok := entryOf(record)
		if !ok || banking.IsProbe(e.OrderID) {
			return nil
		}
		if batch = append(batch, e); len(batch) < rebuildBatch {
			return nil
		}
		return flush()
	}, hole)
	if err != nil {
		return entries, err
	}
	return entries, flush()
}

// decisionOf reads a published decision. What is none says nothing about the
// ledger; the topic's readers set it aside.
func decisionOf(decided record.Record) (LedgerRow, bool) {
	event, err := delivery.Decode(decided)
	if err != nil {
		return LedgerRow{}, false
	}
	// Without its cause, a decision still keeps its order from being decided
	// again: no event can then be the one that it was decided for.
	e := LedgerRow{
		OrderID: event.Order(), EventID: decided.Header(record.HeaderOriginalEventID), ResultEventID: event.ID(),
		ProcessedAt: event.Time(),
	}
	switch p := event.(type) {
	case banking.PaymentAuthorized:
		e.Status, e.Amount = p.Status, p.Amount
	case banking.PaymentRejected:
		e.Status, e.Amount = p.Status, p.Amount
	default:
		return LedgerRow{}, false
	}
	return e, true
}

// tell logs how far the rebuild is until the function that it returns is called.
func (r *rebuild) tell(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = lifecycle.Every(ctx, rebuildNews, func(ctx context.Context) error { // ends with ctx
			r.logger.InfoContext(ctx, "rebuilding the ledger", "records_read", r.progress.done.Load(), "records", r.progress.total.Load())
			return nil
		})
	}()
	return func() { cancel(); <-ended }
}

// rebuildProgress says how far a rebuild is, to those who ask meanwhile.
type rebuildProgress struct {
	underWay    atomic.Bool
	done, total atomic.Int64
	waits       atomic.Pointer[error] // for what it cannot read yet
}

func (p *rebuildProgress) begin() {
	p.total.Store(0)
	p.done.Store(0)
	p.wait(nil)
	p.underWay.Store(true)
}

// wait notes what the rebuild waits for, nil for nothing any more.
func (p *rebuildProgress) wait(reason error) {
	if hidden, ok := errors.AsType[*kafka.HiddenError](reason); ok {
		p.total.Store(kafka.Length(hidden.Spans))
	}
	p.waits.Store(&reason)
}

func (p *rebuildProgress) step() { p.done.Add(1) }
func (p *rebuildProgress) end()  { p.underWay.Store(false) }

// left is how many records are still to be read, as far as is known; offsets
// without a record, such as those of markers, count until the end.
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
	if reason := p.waits.Load(); reason != nil && *reason != nil {
		return fmt.Errorf("rebuilding from the topics: %w", *reason)
	}
	return &RebuildingError{p.done.Load(), p.total.Load()}
}

// RebuildingError says how far a rebuild of the ledger is, in records.
type RebuildingError struct{ Done, Total int64 }

// Error says so in words.
func (e *RebuildingError) Error() string {
	return fmt.Sprintf("rebuilding from the topics, %d of %d records read", e.Done, e.Total)
}
