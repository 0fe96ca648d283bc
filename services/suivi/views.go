package suivi

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Views is suivi without Kafka and HTTP around it: records are brought to its
// handler. It is what test/model drives.
type Views struct {
	Store   *storage.Store
	tracker *tracker
}

// OpenViews opens suivi's storage.
func OpenViews(ctx context.Context, url string) (*Views, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	s, err := storage.Open(ctx, url, Name, own)
	if err != nil {
		return nil, err
	}
	return &Views{Store: s, tracker: &tracker{store: store{s}, log: slog.New(slog.DiscardHandler)}}, nil
}

// Handler adds what records say to the orders' views.
func (v *Views) Handler() delivery.Handler[histories, *fact] { return v.tracker }

// Order is how an order is shown; the error of an unknown one is [storage.IsNotFound].
func (v *Views) Order(ctx context.Context, id string) (View, error) {
	found, err := v.tracker.store.Order(ctx, id)
	return found.shown(), err
}

// Close closes the storage.
func (v *Views) Close() error { return v.Store.Close() }
