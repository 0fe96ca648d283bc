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

// LedgerConfig is what a [Ledger] is opened with.
type LedgerConfig struct {
	URL        string // of its storage
	Log        kafka.Log
	Authoriser Authoriser
	Clocks     storage.Clocks
	// Identities are those of the cluster and its topics, as [kafka.Identities] returns them,
	// Topics the same, to be said with the group's offsets, and Began what these have said.
	Identities map[string]string
	Topics     *kafka.Identity
	Began      func(context.Context) (kafka.Began, error)
}

// OpenLedger opens a ledger and reads back what was published. It returns
// [storage.ErrForeign] for one that was made for other topics, as a start of paiement does.
func OpenLedger(ctx context.Context, cfg LedgerConfig) (*Ledger, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	s, err := storage.Open(ctx, cfg.URL, Name, own, storage.WithClocks(cfg.Clocks))
	if err != nil {
		return nil, err
	}
	state, silent, nobody := store{s}, slog.New(slog.DiscardHandler), func(context.Context) {}
	now := func() time.Time { return cfg.Clocks().Wall }
	lost := rebuild{store: state, log: cfg.Log, logger: silent, now: now, progress: &rebuildProgress{}, began: cfg.Began}
	err = s.Stamp(ctx, cfg.Identities)
	if err == nil {
		err = lost.run(ctx)
	}
	if err == nil {
		err = state.say(ctx, cfg.Topics)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Ledger{Store: s, decider: &decider{
		store: state, purges: newUnread(state, cfg.Log), authoriser: cfg.Authoriser, now: now, log: silent, authorized: nobody, rejected: nobody,
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
