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
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
)

// known is what is known of a batch's orders before they are decided.
type known struct {
	// settled has, for those that are decided or purged, the event of each.
	settled map[string]string
	// horizon is what an order of the batch must not be before.
	horizon horizon
	// aside has the events of records that were set aside before this storage
	// came to them, by their offsets.
	aside map[int64]string
}

// LedgerRow is a line that a decision or a purge adds to the ledger.
type LedgerRow struct {
	OrderID       string
	EventID       string        // the order's event that was decided or purged
	ResultEventID string        // "" for a purge
	Status        string        // banking.StatusAuthorized, StatusRejected or StatusPurged
	Amount        banking.Money // 0 for a purge
	ProcessedAt   time.Time     // for a purge, when paiement learned of it
}

// decider is paiement's handler: each order is decided once, unless it is purged
// before.
type decider struct {
	store      store
	purges     *unread
	authoriser Authoriser
	now        func() time.Time
	log        *slog.Logger
	lines      *service.OrderLog     // one for each order
	authorized func(context.Context) // counts one
	rejected   func(context.Context)
}

// Load looks the batch's orders up: among the purges first, then in the ledger,
// which takes them meanwhile, and the horizon last, which is raised with what
// the ledger forgets.
func (d *decider) Load(ctx context.Context, batch []record.Record) (known, error) {
	orders := record.Keys(batch)
	purged, err := d.purges.Purged(ctx, orders)
	if err != nil {
		return known{}, err
	}
	settled, err := d.store.Settled(ctx, orders)
	if err != nil {
		return known{}, err
	}
	for order, event := range purged {
		if _, ok := settled[order]; !ok { // a decision that came first is final
			settled[order] = event
		}
	}
	state := known{settled: settled}
	if len(batch) == 0 || batch[0].Topic != banking.TopicOrdersCreated {
		return state, nil
	}
	if state.aside, err = d.store.SetAside(ctx, batch); err != nil {
		return known{}, err
	}
	state.horizon, err = d.store.Horizon(ctx, batch[0].Partition)
	return state, err
}

// Handle decides one order, unless it is settled or may have been, or takes a
// purge into the ledger. A nil row is a dead letter that ends no order.
func (d *decider) Handle(ctx context.Context, state known, r record.Record) (*LedgerRow, []record.Message, error) {
	if r.Topic == banking.TopicOrdersDLQ {
		return d.purge(r), nil, nil
	}
	if event, ok := state.aside[r.Offset]; ok && event == r.Header(record.HeaderEventID) {
		return nil, nil, delivery.ErrDuplicate // it waits among the dead letters
	}
	order, err := delivery.DecodeAs[banking.OrderCreated](r)
	if err != nil {
		return nil, nil, err
	}
	if settled, ok := state.settled[order.OrderID]; ok {
		if settled == order.EventID {
			return nil, nil, delivery.ErrDuplicate
		}
		return nil, nil, delivery.Reject(delivery.ReasonContradictory,
			fmt.Errorf("%s was decided or purged for another event", order.OrderID))
	}
	if err := state.horizon.check(order, r); err != nil {
		return nil, nil, err
	}
	return d.decide(ctx, order)
}

// check fails for an order that is before the horizon.
func (h horizon) check(order banking.OrderCreated, r record.Record) error {
	at, before := placed(order, r), ""
	switch {
	case at.Before(h.from):
		before = h.from.Format(time.RFC3339)
	case r.Offset < h.before:
		before = record.At(r.Topic, r.ID, h.before).String() + " was written"
	default:
		return nil
	}
	return delivery.Reject(delivery.ReasonTooOld, fmt.Errorf(
		"%s was placed at %s; what was decided before %s is no longer known. If it was not decided, restart paiement with --decide-from=%[2]s and replay this letter",
		order.OrderID, at.UTC().Format(time.RFC3339), before))
}

// placed is when an order was placed: the earlier of what it says itself and
// what its record says. A record without a time says nothing.
func placed(order banking.OrderCreated, r record.Record) time.Time {
	if r.Time.UnixMilli() > 0 && r.Time.Before(order.CreatedAt) {
		return r.Time
	}
	return order.CreatedAt
}

// purge is what a dead-letter topic's record ends, if anything.
func (d *decider) purge(r record.Record) *LedgerRow {
	order, event, ok := purgeOf(r)
	if !ok || banking.IsProbe(order) {
		return nil
	}
	return &LedgerRow{OrderID: order, EventID: event, Status: banking.StatusPurged, ProcessedAt: d.now()}
}

// decide has the authoriser decide an order that nothing is known of. A probe leaves no
// row in the ledger: no money moves, and were it decided again, it would be by the same
// event and in the same way.
func (d *decider) decide(ctx context.Context, order banking.OrderCreated) (*LedgerRow, []record.Message, error) {
	verdict, err := d.authoriser.Authorise(ctx, order.OrderID, order.Amount)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, nil, err // we are stopping; the order waits for the next start
		}
		return nil, nil, delivery.Transient(delivery.ReasonAuthoriser, err)
	}
	result := outcome(order, verdict, d.now())
	message, err := delivery.Encode(result, order.EventID)
	if err != nil { // the order could be decoded, so it is the verdict that cannot be encoded
		return nil, nil, delivery.Transient(delivery.ReasonAuthoriser, err)
	}
	if banking.IsProbe(order.OrderID) {
		return nil, []record.Message{message}, nil
	}
	return &LedgerRow{
		OrderID: order.OrderID, EventID: order.EventID, ResultEventID: result.ID(),
		Status: statusOf(verdict), Amount: order.Amount, ProcessedAt: result.Time(),
	}, []record.Message{message}, nil
}

// Store writes the ledger.
func (d *decider) Store(ctx context.Context, tx *storage.Tx, decided []delivery.Decided[*LedgerRow]) error {
	var entries []LedgerRow
	for _, e := range decided {
		if e.Change != nil {
			entries = append(entries, *e.Change)
		}
	}
	return d.store.Add(ctx, tx, entries)
}

// Stored counts and logs what was settled.
func (d *decider) Stored(decided []delivery.Decided[*LedgerRow]) {
	for _, e := range decided {
		if e.Change == nil {
			continue
		}
		switch e.Change.Status {
		case banking.StatusPurged:
			d.log.InfoContext(e.Context, "purge seen", "order_id", e.Change.OrderID)
			continue
		case banking.StatusAuthorized:
			d.authorized(e.Context)
		default:
			d.rejected(e.Context)
		}
		d.lines.Info(e.Context, e.Change.OrderID, "payment decided", slog.String("status", e.Change.Status))
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
