package paiement

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// known is what the ledger says about a batch's orders: the event that each
// decided order was decided for.
type known map[string]string

// entry is a line that a decision adds to the ledger.
type entry struct {
	OrderID       string
	EventID       string
	ResultEventID string
	Status        string
	Amount        banking.Money
	ProcessedAt   time.Time
}

// decider is paiement's handler: each order is decided once.
type decider struct {
	store      store
	authoriser Authoriser
	now        func() time.Time
	log        *slog.Logger
	authorized func(context.Context) // counts one
	rejected   func(context.Context)
}

// Load looks the batch's orders up in the ledger.
func (d *decider) Load(ctx context.Context, batch []record.Record) (known, error) {
	return d.store.Decided(ctx, record.Keys(batch))
}

// Handle decides one order, unless the ledger has it.
func (d *decider) Handle(ctx context.Context, state known, r record.Record) (entry, []record.Message, error) {
	order, err := delivery.DecodeAs[banking.OrderCreated](r)
	if err != nil {
		return entry{}, nil, err
	}
	if decided, ok := state[order.OrderID]; ok {
		if decided == order.EventID {
			return entry{}, nil, delivery.ErrDuplicate
		}
		return entry{}, nil, delivery.Reject(delivery.ReasonContradictory,
			fmt.Errorf("%s was decided for another event", order.OrderID))
	}
	verdict, err := d.authoriser.Authorise(ctx, order.OrderID, order.Amount)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return entry{}, nil, err // we are stopping; the order waits for the next start
		}
		return entry{}, nil, delivery.Transient(delivery.ReasonAuthoriser, err)
	}
	result := outcome(order, verdict, d.now())
	message, err := delivery.Encode(result, order.EventID)
	if err != nil { // the order could be decoded, so it is the verdict that cannot be encoded
		return entry{}, nil, delivery.Transient(delivery.ReasonAuthoriser, err)
	}
	return entry{
		OrderID: order.OrderID, EventID: order.EventID, ResultEventID: result.ID(),
		Status: statusOf(verdict), Amount: order.Amount, ProcessedAt: result.Time(),
	}, []record.Message{message}, nil
}

// Store writes the ledger.
func (d *decider) Store(ctx context.Context, tx *storage.Tx, decided []delivery.Decided[entry]) error {
	entries := make([]entry, len(decided))
	for i, e := range decided {
		entries[i] = e.Change
	}
	return d.store.Add(ctx, tx, entries)
}

// Stored counts and logs the decisions.
func (d *decider) Stored(decided []delivery.Decided[entry]) {
	for _, e := range decided {
		if e.Change.Status == banking.StatusAuthorized {
			d.authorized(e.Context)
		} else {
			d.rejected(e.Context)
		}
		d.log.InfoContext(e.Context, "payment decided", "order_id", e.Change.OrderID, "status", e.Change.Status)
	}
}

// outcome is the event that announces the verdict. Its id follows from the
// order's event, so that it is the same however often it is made.
func outcome(order banking.OrderCreated, v Verdict, now time.Time) banking.Event {
	id, at := banking.ResultEventID(order.EventID), now.UTC().Truncate(time.Microsecond)
	if v.Authorized {
		return banking.PaymentAuthorized{
			EventID: id, OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount,
			Status: banking.StatusAuthorized, AuthorizationCode: v.Code, ProcessedAt: at,
		}
	}
	return banking.PaymentRejected{
		EventID: id, OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount,
		Status: banking.StatusRejected, RejectionReason: v.Reason, ProcessedAt: at,
	}
}

func statusOf(v Verdict) string {
	if v.Authorized {
		return banking.StatusAuthorized
	}
	return banking.StatusRejected
}

// counting makes a function that counts one payment of a status, with its
// attributes built once.
func counting(counter metric.Int64Counter, option metric.AddOption) func(context.Context) {
	options := []metric.AddOption{option}
	return func(ctx context.Context) { counter.Add(ctx, 1, options...) }
}
