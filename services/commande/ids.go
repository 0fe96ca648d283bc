package commande

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/vigie-dev/vigie/internal/storage"
)

// blockSize is how many ids are taken from storage at a time: an order costs
// a thousandth of a storage transaction, and a crash skips at most that many.
const blockSize = 1000

const (
	takeBlock = `UPDATE order_ids SET next_number = next_number + $1 WHERE name = 'order' RETURNING next_number`
	nextBlock = `SELECT next_number FROM order_ids WHERE name = 'order'`
	// giveBack succeeds only while nobody has taken a later block.
	giveBack = `UPDATE order_ids SET next_number = $1 WHERE name = 'order' AND next_number = $2`
)

// ids gives each order its id. An id is never given twice, whatever crashes
// and however many instances share the storage: blocks are taken from storage
// before their first id is given.
type ids struct {
	store *storage.Store

	mu        sync.Mutex
	next, end int64 // the rest of the block: next ≤ id < end
}

// take returns a new order id.
func (i *ids) take(ctx context.Context) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.next == i.end {
		if err := i.refill(ctx); err != nil {
			return "", fmt.Errorf("take order ids: %w", err)
		}
	}
	id := i.next
	i.next++
	return "order-" + strconv.FormatInt(id, 10), nil
}

func (i *ids) refill(ctx context.Context) error {
	var end int64
	if err := i.store.Update(ctx, func(tx *storage.Tx) error {
		return tx.QueryRow(ctx, takeBlock, blockSize).Scan(&end)
	}); err != nil {
		return err
	}
	i.next, i.end = end-blockSize, end
	return nil
}

// release gives the rest of the block back, so that ids go on without a gap
// after a clean stop. No id may be taken afterwards.
func (i *ids) release(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.next == i.end {
		return nil
	}
	err := i.store.Update(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, giveBack, i.next, i.end)
		return err
	})
	if err != nil {
		return fmt.Errorf("give order ids back: %w", err)
	}
	i.next, i.end = 0, 0
	return nil
}
