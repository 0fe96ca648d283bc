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
	known := counted{}
	for _, r := range batch {
		event, err := eventOf(ctx, c.store, string(r.Key))
		if err != nil {
			return nil, err
		}
		if event != "" {
			known[string(r.Key)] = event
		}
	}
	return known, nil
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
	batch := newTally()
	for _, d := range decided {
		added, err := insert(ctx, tx, d.Change)
		if err != nil {
			return err
		}
		if added {
			batch.add(d.Change)
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
