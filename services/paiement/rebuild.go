package paiement

import (
	"context"
	"fmt"
	"sync"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
)

// rebuildBatch is how many decisions are stored in one transaction.
const rebuildBatch = 500

const (
	insertEntriesIfNone = insertEntries + ` ON CONFLICT DO NOTHING`
)

// rebuild fills a ledger that has not read any order with the decisions that
// have been published. It may be new because its folder was lost or reset; what
// was decided before is still final, and is not to be decided again.
func rebuild(ctx context.Context, b *service.Base) error {
	// Positions are stored once this has been done: a rebuild that was cut
	// short is begun again, and adds what is missing.
	for id := range int32(banking.Partitions) {
		_, known, err := b.Store.Position(ctx, record.Partition{Topic: banking.TopicOrdersCreated, ID: id})
		if known || err != nil {
			return err
		}
	}
	spans, err := kafka.Bounds(b.Control, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	if err != nil {
		return err
	}
	r := rebuilding{store: b.Store}
	if err := kafka.Scan(ctx, b.Kafka, spans, func(record record.Record) error { return r.add(ctx, record) }); err != nil {
		return fmt.Errorf("rebuild ledger: %w", err)
	}
	if err := r.flush(ctx); err != nil {
		return fmt.Errorf("rebuild ledger: %w", err)
	}
	if r.total > 0 {
		b.Log.InfoContext(ctx, "ledger rebuilt from published decisions", "decisions", r.total)
	}
	return nil
}

// rebuilding collects entries, which arrive from several partitions at once.
type rebuilding struct {
	store *storage.Store
	mu    sync.Mutex
	batch []entry
	total int
}

// add takes a published decision. What is none says nothing about the ledger;
// the topic's readers set it aside.
func (r *rebuilding) add(ctx context.Context, decided record.Record) error {
	event, err := delivery.Decode(decided)
	if err != nil {
		return nil // not a decision
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
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batch = append(r.batch, e)
	if len(r.batch) < rebuildBatch {
		return nil
	}
	return r.flush(ctx)
}

func (r *rebuilding) flush(ctx context.Context) error {
	err := r.store.Update(ctx, func(tx *storage.Tx) error {
		return insert(ctx, tx, insertEntriesIfNone, r.batch)
	})
	r.total += len(r.batch)
	r.batch = nil
	return err
}
