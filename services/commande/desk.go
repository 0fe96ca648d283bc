package commande

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Desk is commande without Kafka and HTTP around it: it gives orders their ids
// and knows them by their keys. It is what test/model drives.
type Desk struct {
	store *storage.Store
	keys  *keys
}

// OpenDesk opens commande's storage.
func OpenDesk(ctx context.Context, url string) (*Desk, error) {
	own, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	s, err := storage.Open(ctx, url, Name, own)
	if err != nil {
		return nil, err
	}
	return &Desk{store: s, keys: &keys{
		store: s, ids: &ids{store: s}, log: slog.New(slog.DiscardHandler), now: time.Now, lease: DefaultAckTimeout + afterwards,
	}}, nil
}

// Place places an order as POST /orders does: a client's, with its key where it
// has one. Its error says that it may or may not have been published.
func (d *Desk) Place(
	ctx context.Context, client, key string, request banking.OrderRequest, publish func(context.Context, banking.OrderCreated) error,
) (banking.OrderCreated, error) {
	if key == "" {
		event, err := d.keys.ids.draft(ctx, request)
		if err != nil {
			return event, fmt.Errorf("%w: %w", errUnpublished, err)
		}
		return event, publish(ctx, event)
	}
	event, _, err := d.keys.place(ctx, keyHash(client, key), request, publish)
	return event, err
}

// Forget removes the keys that have been kept for long enough.
func (d *Desk) Forget(ctx context.Context) error {
	return d.store.Update(ctx, func(tx *storage.Tx) error {
		const all = 1 << 30
		_, err := forgetOldKeys(ctx, tx, time.Now().Add(-keptKeys), all)
		return err
	})
}

// Close closes the storage.
func (d *Desk) Close() error { return d.store.Close() }
