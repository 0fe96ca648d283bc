package analyseur

import (
	"context"
	"errors"
	"log/slog"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// counted is what has been counted of a batch's orders: the event of each.
type counted map[string]string

// counter is analyseur's handler: each decided payment counts once.
type counter struct {
	store store
	log   *slog.Logger
}

// Load looks up which of the batch's orders have been counted.
func (c *counter) Load(ctx context.Context, batch []record.Record) (counted, error) {
	return c.store.Counted(ctx, record.Keys(batch))
}

// Handle reads a decided payment. That of a probe is none, and changes nothing.
func (c *counter) Handle(_ context.Context, known counted, r record.Record) (Transaction, []record.Message, error) {
	event, err := delivery.Decode(r)
	if err != nil {
		return Transaction{}, nil, err
	}
	if banking.IsProbe(event.Order()) {
		return Transaction{}, nil, nil // no payment
	}
	tx := Transaction{EventID: event.ID(), OrderID: event.Order(), ProcessedAt: event.Time()}
	switch e := event.(type) {
	case banking.PaymentAuthorized:
		tx.Status, tx.UserID, tx.Amount = e.Status, e.UserID, e.Amount
	case banking.PaymentRejected:
		tx.Status, tx.UserID, tx.Amount = e.Status, e.UserID, e.Amount
	}
	switch known[tx.OrderID] {
	case "":
		return tx, nil, nil
	case tx.EventID:
		return Transaction{}, nil, delivery.ErrDuplicate
	default:
		return Transaction{}, nil, delivery.Reject(delivery.ReasonContradictory, errors.New("the order was decided by another event"))
	}
}

// Store stores the transactions and adds them to the sums.
func (c *counter) Store(ctx context.Context, tx *storage.Tx, decided []delivery.Decided[Transaction]) error {
	var transactions []Transaction
	for _, d := range decided {
		if d.Change.OrderID != "" {
			transactions = append(transactions, d.Change)
		}
	}
	return c.store.Add(ctx, tx, transactions)
}

// Stored logs what has been counted.
func (c *counter) Stored(decided []delivery.Decided[Transaction]) {
	for _, d := range decided {
		if d.Change.OrderID != "" {
			c.log.DebugContext(d.Context, "payment counted", "order_id", d.Change.OrderID, "status", d.Change.Status)
		}
	}
}
