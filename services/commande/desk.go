package commande

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Desk is commande without Kafka and HTTP around it: it gives orders their ids
// and knows them by their keys. It is what test/model drives.
type Desk struct {
	store   *storage.Store
	keys    *keys
	others  *watch
	pruning storage.Pruning
}

// OpenDesk opens commande's storage, which goes by these clocks. It returns
// [ErrIDsBehind] where ids would repeat, as a start of commande does.
func OpenDesk(ctx context.Context, url string, topics kafka.Log, clocks storage.Clocks) (*Desk, error) {
	own, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	s, err := storage.Open(ctx, url, Name, own, storage.WithClocks(clocks))
	if err != nil {
		return nil, err
	}
	silent := slog.New(slog.DiscardHandler)
	allocator, others, err := openIDs(ctx, s, topics, silent)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	now := func() time.Time { return clocks().Wall }
	known := &keys{store: s, ids: allocator, issuer: others.issuer, log: silent, now: now, lease: DefaultAckTimeout + afterwards}
	return &Desk{store: s, keys: known, others: others, pruning: storage.Pruning{Store: s, Age: keptKeys, Newest: known.newest, Forget: forgetOldKeys}}, nil
}

// Place places an order as POST /orders does: a client's, with its key where it
// has one. Its error says that it may or may not have been published.
func (d *Desk) Place(
	ctx context.Context, client, key string, request banking.OrderRequest, publish func(context.Context, banking.OrderCreated) error,
) (banking.OrderCreated, error) {
	if key == "" {
		event, err := d.keys.draft(ctx, request)
		if err != nil {
			return event, fmt.Errorf("%w: %w", errUnpublished, err)
		}
		return event, publish(ctx, event)
	}
	event, _, err := d.keys.place(ctx, keyHash(client, key), request, publish)
	return event, err
}

// Look looks for what others have written to orders.created, as commande does every
// second.
func (d *Desk) Look(ctx context.Context) error {
	ends, err := d.others.topics.Ends(ctx, banking.TopicOrdersCreated)
	if err != nil {
		return err
	}
	return d.others.look(ctx, ends)
}

// Pruning removes the keys that have been kept for long enough.
func (d *Desk) Pruning() *storage.Pruning { return &d.pruning }

// Close closes the storage.
func (d *Desk) Close() error { return d.store.Close() }
