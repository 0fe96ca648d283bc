package delivery

import (
	"context"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Handler is what one service does with its records. The loop calls the steps
// in this order for every batch; a batch holds each key at most once, and all
// of its records come from one partition.
//
// State is what the batch's decisions need to know, Change what one record
// changes.
type Handler[State, Change any] interface {
	// Load reads what deciding the batch needs, outside any transaction.
	Load(ctx context.Context, batch []record.Record) (State, error)
	// Handle decides one record: what changes and what is published. It
	// changes nothing itself, so that it can be repeated, and may be called
	// for several records of a batch at once. Its error has a [Class].
	Handle(ctx context.Context, state State, r record.Record) (Change, []record.Message, error)
	// Store stores the batch's changes inside the transaction that also
	// stores the outgoing messages and the offset.
	Store(ctx context.Context, tx *storage.Tx, decided []Decided[Change]) error
	// Stored is told once that the changes are stored for good: the place
	// for business metrics and logs.
	Stored(decided []Decided[Change])
}

// Decided is one record's decision.
type Decided[Change any] struct {
	// Context carries the record's process span.
	Context context.Context
	Record  record.Record
	Change  Change
}
