package paiement

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	selectEvents        = `SELECT order_id, event_id FROM ledger WHERE order_id IN $rows`
	insertEntries       = `INSERT INTO ledger (order_id, event_id, result_event_id, status, amount, processed_at) VALUES $rows`
	insertEntriesIfNone = insertEntries + ` ON CONFLICT DO NOTHING`
	selectLedger        = `SELECT order_id, event_id, result_event_id, status, amount, processed_at FROM ledger`
	deleteEntries       = `DELETE FROM ledger WHERE order_id IN (SELECT order_id FROM ledger WHERE processed_at < $1 LIMIT $2)`
)

// store is paiement's state, the ledger: one entry for each order decided.
type store struct{ *storage.Store }

// Decided returns, for those of the orders that were decided, the event that
// each was decided for.
func (s store) Decided(ctx context.Context, orderIDs []string) (known, error) {
	decided := known{}
	err := s.SelectKeys(ctx, selectEvents, orderIDs, func(rows *sql.Rows) error {
		var order, event string
		err := rows.Scan(&order, &event)
		decided[order] = event
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look into the ledger: %w", err)
	}
	return decided, nil
}

// Add adds decisions, as [insert] does.
func (store) Add(ctx context.Context, tx *storage.Tx, entries []entry) error {
	return insert(ctx, tx, insertEntries, entries)
}

// insert adds decisions. The ledger is unique by order: a second decision of
// an order fails the whole transaction. Its caller decided on a state
// that has changed since, and has to look again: [storage.ErrFenced].
func insert(ctx context.Context, tx *storage.Tx, query string, entries []entry) error {
	rows := make([][]any, len(entries))
	for i, e := range entries {
		rows[i] = []any{e.OrderID, e.EventID, e.ResultEventID, e.Status, int64(e.Amount), e.ProcessedAt.UnixMicro()}
	}
	err := tx.InsertRows(ctx, query, rows)
	if storage.IsUnique(err) {
		return fmt.Errorf("%w: an order of the batch has been decided: %w", storage.ErrFenced, err)
	}
	return err
}

// Forget removes at most limit decisions that were taken before a time.
func (store) Forget(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, deleteEntries, before.UnixMicro(), limit)
}

// rebuildBatch is how many decisions are stored in one transaction.
const rebuildBatch = 500

// Rebuild fills a ledger that has not read any order with the decisions that
// have been published. It may be new because its folder was lost or reset; what
// was decided before is still final, and is not to be decided again.
func (s store) Rebuild(ctx context.Context, b *service.Base) error {
	// Positions are stored once this has been done: a rebuild that was cut
	// short is begun again, and adds what is missing.
	for id := range int32(banking.Partitions) {
		_, known, err := s.Position(ctx, record.Partition{Topic: banking.TopicOrdersCreated, ID: id})
		if known || err != nil {
			return err
		}
	}
	spans, err := kafka.Bounds(b.Control, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	if err != nil {
		return err
	}
	r := rebuilding{store: s}
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
	store store
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

// LedgerRow is one decision, as the ledger keeps it for those who look on.
type LedgerRow struct {
	OrderID       string
	EventID       string // the order's event that was decided
	ResultEventID string
	Status        string // banking.StatusAuthorized or banking.StatusRejected
	Amount        banking.Money
	ProcessedAt   time.Time
}

// ReadLedger gives every row of the ledger to row, in no order, and ends with
// its first error.
func ReadLedger(ctx context.Context, s *storage.Snapshot, row func(LedgerRow) error) error {
	rows, err := s.Query(ctx, selectLedger)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r LedgerRow
		var micros int64
		if err := rows.Scan(&r.OrderID, &r.EventID, &r.ResultEventID, &r.Status, &r.Amount, &micros); err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		r.ProcessedAt = time.UnixMicro(micros).UTC()
		if err := row(r); err != nil {
			return err
		}
	}
	return rows.Err()
}
