package service

import (
	"context"
	"time"

	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	pruneInterval = time.Hour
	// pruneBatch bounds how long a prune keeps others from writing.
	pruneBatch = 500
)

// Forget removes at most limit of what was settled before a time, inside a
// transaction, and returns how much that was.
type Forget func(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error)

// Prune has settled state that is older than the retention removed in the
// background, in small steps.
func (b *Base) Prune(forget Forget) { b.PruneAfter(b.Retention, forget) }

// PruneAfter is [Base.Prune] for state with an age of its own.
func (b *Base) PruneAfter(age time.Duration, forget Forget) {
	b.Stack.Go("prune", func(ctx context.Context) error {
		ticker := time.NewTicker(pruneInterval)
		defer ticker.Stop()
		for {
			n, err := prune(ctx, b.Store, time.Now().Add(-age), forget)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				b.Log.WarnContext(ctx, "old state not removed; the next round tries again", "error", err)
			case n > 0:
				b.Log.InfoContext(ctx, "old state removed", "rows", n, "older_than", age)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	})
}

// prune removes everything settled before a time, a batch per transaction.
func prune(ctx context.Context, store *storage.Store, before time.Time, forget Forget) (total int64, err error) {
	for {
		var n int64
		err := store.Update(ctx, func(tx *storage.Tx) (err error) {
			n, err = forget(ctx, tx, before, pruneBatch)
			return err
		})
		total += n
		if err != nil || n < pruneBatch {
			return total, err
		}
	}
}
