package journeys

import (
	"context"

	"go.opentelemetry.io/otel/metric"

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
}

// Load needs nothing: what is known of an order is read, and kept from others, in the
// transaction that changes it.
func (*follower) Load(context.Context, []record.Record) (struct{}, error) { return struct{}{}, nil }

// Handle reads a record. None fails: what cannot be read tells nothing.
func (f *follower) Handle(_ context.Context, _ struct{}, r record.Record) (*fact, []record.Message, error) {
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
