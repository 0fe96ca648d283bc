package suivi

import (
	"context"
	"errors"
	"log/slog"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// histories is what is known of a batch's orders: the events seen so far.
type histories map[string][]moment

// tracker is suivi's handler: it adds what records say to the orders' views.
type tracker struct {
	store store
	log   *slog.Logger
}

// Load reads the histories of the batch's orders.
func (t *tracker) Load(ctx context.Context, batch []record.Record) (histories, error) {
	return t.store.Histories(ctx, record.Keys(batch))
}

// Handle reads what a record says. A nil fact is a dead letter that says
// nothing about a payment.
func (t *tracker) Handle(_ context.Context, known histories, r record.Record) (*fact, []record.Message, error) {
	f, err := read(r)
	if err != nil || f == nil {
		return nil, nil, err
	}
	switch events := known[f.OrderID]; {
	case seen(events, f.EventID):
		return nil, nil, delivery.ErrDuplicate
	case contradicts(events, *f):
		return nil, nil, delivery.Reject(delivery.ReasonContradictory, errors.New("the order is known by another event"))
	}
	if f.Type != banking.TypeOrderCreated {
		return f, nil, nil
	}
	// What came before its order is compared now.
	strange := strangers(known[f.OrderID], f.EventID)
	f.Strangers = len(strange)
	return f, letters(strange), nil
}

// letters sets aside the decisions among the moments.
func letters(strange []moment) (out []record.Message) {
	for _, m := range strange {
		if m.Record != nil {
			out = append(out, delivery.Letter(banking.DeadLetterTopic(m.Record.Topic), banking.GroupSuivi, *m.Record,
				delivery.Reject(delivery.ReasonContradictory, errors.New("its order was created by another event"))))
		}
	}
	return out
}

// Store brings the views up to date.
func (t *tracker) Store(ctx context.Context, tx *storage.Tx, decided []delivery.Decided[*fact]) error {
	var facts []fact // a batch has each key, and so each order, once
	for _, d := range decided {
		if d.Change != nil {
			facts = append(facts, *d.Change)
		}
	}
	return t.store.Add(ctx, tx, facts)
}

// Stored logs what has become visible.
func (t *tracker) Stored(decided []delivery.Decided[*fact]) {
	for _, d := range decided {
		if d.Change != nil {
			t.log.DebugContext(d.Context, "order updated", "order_id", d.Change.OrderID, "event", d.Change.Type)
			if d.Change.Strangers > 0 {
				t.log.WarnContext(d.Context, "what was known of the order is another's and shown no more", "order_id", d.Change.OrderID, "events", d.Change.Strangers)
			}
		}
	}
}

func read(r record.Record) (*fact, error) {
	if r.Topic == banking.TopicOrdersDLQ {
		return readDeadLetter(r)
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return nil, err
	}
	f := fact{
		EventID: event.ID(), Type: event.Type(), At: event.Time(), Status: banking.StatusAfter(event.Type()), OrderID: event.Order(),
	}
	switch e := event.(type) {
	case banking.OrderCreated:
		f.UserID, f.Amount, f.Items = e.UserID, e.Amount, e.Items
	case banking.PaymentAuthorized:
		f.UserID, f.Amount, f.AuthorizationCode = e.UserID, e.Amount, e.AuthorizationCode
		f.Cause, f.Record = r.Header(record.HeaderOriginalEventID), &r
	case banking.PaymentRejected:
		f.UserID, f.Amount, f.RejectionReason = e.UserID, e.Amount, e.RejectionReason
		f.Cause, f.Record = r.Header(record.HeaderOriginalEventID), &r
	}
	return &f, nil
}

// readDeadLetter turns an order that paiement set aside into a failed payment.
// Other groups' dead letters, those whose value no longer names an order, and
// records that no group has set aside say nothing that could be shown.
func readDeadLetter(r record.Record) (*fact, error) {
	origin, original, err := record.ParseOrigin(r)
	if err != nil || origin.Group != banking.GroupPaiement {
		return nil, nil //nolint:nilerr // what nobody has set aside is no failed payment
	}
	if origin.Reason == string(delivery.ReasonContradictory) {
		return nil, nil // a second order under an id: the first is as it was
	}
	order, err := delivery.DecodeAs[banking.OrderCreated](original)
	if err != nil {
		return nil, nil //nolint:nilerr // counted as a dead letter where it was set aside
	}
	return &fact{
		// Republished by a crash, a dead letter has the same origin; the dead
		// letter of a replay has another.
		EventID: origin.Place.String(), Type: banking.TypePaymentFailed, At: origin.FailedAt, Status: banking.OrderStatusFailed,
		OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount, FailureReason: origin.Reason, Cause: order.EventID,
	}, nil
}
