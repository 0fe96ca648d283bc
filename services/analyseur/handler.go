package analyseur

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/kafka"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// counted is what has been counted of a batch's orders: the event of each.
type counted map[string]string

// counter is analyseur's handler: each decided payment counts once.
type counter struct {
	store *storage.Store
	log   *slog.Logger
}

// Load looks up which of the batch's orders have been counted.
func (c *counter) Load(ctx context.Context, batch []kafka.Record) (counted, error) {
	return eventsOf(ctx, c.store, kafka.Keys(batch))
}

// Handle reads a decided payment.
func (c *counter) Handle(_ context.Context, known counted, r kafka.Record) (transaction, []storage.Message, error) {
	event, err := kafka.Decode(r)
	if err != nil {
		return transaction{}, nil, err
	}
	tx := transaction{EventID: event.ID(), OrderID: event.Order(), ProcessedAt: event.Time()}
	switch e := event.(type) {
	case banking.PaymentAuthorized:
		tx.Status, tx.UserID, tx.Amount = e.Status, e.UserID, e.Amount
	case banking.PaymentRejected:
		tx.Status, tx.UserID, tx.Amount = e.Status, e.UserID, e.Amount
	}
	if banking.TopicOf(event.Type()) != r.Topic {
		return transaction{}, nil, kafka.Reject(kafka.ReasonMalformed, fmt.Errorf("%s does not belong on %s", event.Type(), r.Topic))
	}
	switch known[tx.OrderID] {
	case "":
		return tx, nil, nil
	case tx.EventID:
		return transaction{}, nil, kafka.ErrDuplicate
	default:
		return transaction{}, nil, kafka.Reject(kafka.ReasonContradictory, errors.New("the order was decided by another event"))
	}
}

// Apply stores the transactions and adds them to the sums.
func (c *counter) Apply(ctx context.Context, tx *storage.Tx, decided []kafka.Decided[transaction]) error {
	transactions := make([]transaction, len(decided))
	for i, d := range decided {
		transactions[i] = d.Change
	}
	added, err := insert(ctx, tx, transactions)
	if err != nil {
		return err
	}
	batch := newTally()
	for _, t := range transactions {
		if added[t.OrderID] {
			batch.add(t)
		}
	}
	return addSums(ctx, tx, batch)
}

// Applied logs what has been counted.
func (c *counter) Applied(decided []kafka.Decided[transaction]) {
	for _, d := range decided {
		c.log.DebugContext(d.Context, "payment counted", "order_id", d.Change.OrderID, "status", d.Change.Status)
	}
}
