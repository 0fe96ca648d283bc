package journeys

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// follower is the handler: it takes down what records say.
type follower struct {
	store    store
	watch    *watch
	decision metric.Float64Histogram
	woken    func() // there is something to judge soon
	probed   func(orderID string)
}

// Load needs nothing: what is known of an order is read, and kept from others, in the
// transaction that changes it.
func (*follower) Load(context.Context, []record.Record) (struct{}, error) { return struct{}{}, nil }

// Handle reads a record. None fails: what cannot be read tells nothing.
func (f *follower) Handle(_ context.Context, _ struct{}, r record.Record) (*fact, []record.Message, error) {
	if decision := r.Topic == banking.TopicPaymentsAuthorized || r.Topic == banking.TopicPaymentsRejected; decision && banking.IsProbe(string(r.Key)) {
		f.probed(string(r.Key))
	}
	return read(r, f.watch.written(r.Place, r.Time)), nil, nil
}

// Store adds to the ledger what the records say.
func (f *follower) Store(ctx context.Context, tx *storage.Tx, batch []delivery.Decided[*fact]) error {
	facts := make([]*fact, len(batch))
	for i, d := range batch {
		facts[i] = d.Change
	}
	return f.store.Take(ctx, tx, facts)
}

// Stored measures the decisions that have become known.
func (f *follower) Stored(batch []delivery.Decided[*fact]) {
	for _, d := range batch {
		if d.Change.took != nil {
			f.decision.Record(d.Context, d.Change.took.seconds())
		}
	}
	f.woken()
}

// micros is a time, or a span of it, in microseconds; as a time since 1970, 0 for none.
type micros int64

func microsOf(t time.Time) micros { return micros(t.UnixMicro()) }

func (m micros) seconds() float64 { return time.Duration(m * micros(time.Microsecond)).Seconds() }

// kind is what a record is about.
type kind int

const (
	nothing  kind = iota // nothing that could be followed
	accepted             // an order was created
	decided              // it was authorized or rejected
	setAside             // a record became a dead letter
	resolved             // a dead letter was replayed or purged
)

// fact is what one record says.
type fact struct {
	kind  kind
	at    micros // when it was written
	place record.Place

	// Of the order that it is about; the event that created it, "" where the record
	// does not say.
	order, event string
	amount       banking.Money
	result       int64 // a digest of the decision: what differs is another one

	// Of a dead letter.
	origin string // the group, and the place of the record that it set aside
	reason string

	// Of what became of one.
	letter record.Place
	purged bool

	took *micros // set by the store: from the order to its decision, where this completes them
}

// read reads a record that was written at a time. What cannot be read tells nothing: those
// who decide set it aside, and their letter tells of it.
func read(r record.Record, at micros) *fact {
	f := &fact{at: at, place: r.Place}
	if banking.IsProbe(string(r.Key)) {
		return f
	}
	if r.Topic == banking.TopicOrdersDLQ || r.Topic == banking.TopicPaymentsDLQ {
		f.readLetter(r)
		return f
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return f
	}
	f.kind, f.order, f.event = decided, event.Order(), r.Header(record.HeaderOriginalEventID)
	switch e := event.(type) {
	case banking.OrderCreated:
		f.kind, f.event, f.amount = accepted, e.EventID, e.Amount
	case banking.PaymentAuthorized:
		f.amount, f.result = e.Amount, digest(e.EventID, e.Status)
	case banking.PaymentRejected:
		f.amount, f.result = e.Amount, digest(e.EventID, e.Status)
	}
	return f
}

// readLetter reads a record of a topic of dead letters.
func (f *fact) readLetter(r record.Record) {
	origin, original, err := record.ParseOrigin(r)
	if err != nil {
		m, err := record.ParseMarker(r)
		if err != nil {
			return
		}
		f.kind, f.letter, f.purged = resolved, m.Letter, m.Resolution == record.Purged
		if f.purged && m.EventID != "" {
			f.order, f.event = string(r.Key), m.EventID
		}
		return
	}
	f.kind, f.origin, f.reason = setAside, origin.Group+" "+origin.Place.String(), "other"
	if slices.Contains(delivery.Reasons(), origin.Reason) {
		f.reason = origin.Reason
	}
	if origin.Group != banking.GroupPaiement {
		return // it says nothing of whether the order is decided
	}
	f.order, f.event = string(original.Key), origin.EventID
	if order, err := delivery.DecodeAs[banking.OrderCreated](original); err == nil {
		f.order, f.event = order.OrderID, order.EventID
	}
}

// digest tells texts from others. It never is 0.
func digest(texts ...string) int64 {
	h := fnv.New64a()
	for _, text := range texts {
		_, _ = h.Write(append([]byte(text), 0))
	}
	return int64(h.Sum64() | 1) //nolint:gosec // bits
}
