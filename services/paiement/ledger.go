package paiement

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Ledger is paiement without Kafka and HTTP around it: records are brought to its
// handler, and time passes as its user has it. It is what test/model drives.
type Ledger struct {
	Store   *storage.Store
	decider *decider
	pruning storage.Pruning
}

// OpenLedger opens a ledger, which goes by these clocks, and rebuilds it from the
// log where it is new.
func OpenLedger(ctx context.Context, url string, log kafka.Log, authoriser Authoriser, clocks storage.Clocks) (*Ledger, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	s, err := storage.Open(ctx, url, Name, own, storage.WithClocks(clocks))
	if err != nil {
		return nil, err
	}
	state, silent, nobody := store{s}, slog.New(slog.DiscardHandler), func(context.Context) {}
	now := func() time.Time { return clocks().Wall }
	lost := rebuild{store: state, log: log, logger: silent, now: now, progress: &rebuildProgress{}}
	if err := lost.run(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Ledger{Store: s, decider: &decider{
		store: state, purges: newUnread(state, log), authoriser: authoriser, now: now, log: silent, authorized: nobody, rejected: nobody,
	}, pruning: storage.Pruning{Store: s, Age: service.DefaultRetention, Newest: s.Newest, Forget: state.Forget}}, nil
}

// Handler decides orders and takes purges.
func (l *Ledger) Handler() delivery.Handler[known, *LedgerRow] { return l.decider }

// Forget removes what was settled before a time.
func (l *Ledger) Forget(ctx context.Context, before time.Time) error {
	const portion = 100
	for {
		var n int64
		err := l.Store.Update(ctx, func(tx *storage.Tx) (err error) {
			n, err = l.decider.store.Forget(ctx, tx, before, portion)
			return err
		})
		if err != nil || n < portion {
			return err
		}
	}
}

// Pruning removes what has been kept for as long as is usual.
func (l *Ledger) Pruning() *storage.Pruning { return &l.pruning }

// Close closes the storage.
func (l *Ledger) Close() error { return l.Store.Close() }
