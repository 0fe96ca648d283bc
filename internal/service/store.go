package service

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

// Names of the metrics of the connections to a database server. A service whose
// storage is a file has none.
const (
	dbConnections    = "db_client_connections"
	dbConnectionsMax = "db_client_connections_max"
	dbWaits          = "db_client_connection_waits_total"
)

// PostgresCatalogue returns the metrics that services add whose storage is
// PostgreSQL.
func PostgresCatalogue() telemetry.Catalogue {
	return telemetry.Catalogue{
		{
			Name: dbConnections, Kind: telemetry.Gauge, Labels: []string{"state"},
			Help: "Connections to the database server.", Bound: "used or idle", MaxSeries: 2,
		},
		{
			Name: dbConnectionsMax, Kind: telemetry.Gauge,
			Help: "The most connections to the database server that there may be, as set.",
		},
		{
			Name: dbWaits, Kind: telemetry.Counter,
			Help: "How often a connection to the database server had to be waited for, since all were used.",
		},
	}
}

// openStore opens the storage, whose schema it brings up to date.
func (s *Service) openStore(ctx context.Context, settings Settings) (err error) {
	b := s.base
	own := b.Definition.Migrations
	if own != nil {
		if own, err = fs.Sub(own, "migrations"); err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
	}
	b.Store, err = storage.Open(ctx, settings.DatabaseURL, b.Definition.Name, own, storage.MaxConnections(settings.DatabaseConnections))
	if err != nil {
		return err
	}
	b.Stack.OnStop("storage", func(context.Context) error { return b.Store.Close() })
	b.Ready.Add("storage", b.Store.Ping)
	if !b.Store.Shared() {
		return nil
	}
	pool, err := watchPool(b.Telemetry.Instruments(), b.Store)
	if err != nil {
		return err
	}
	b.Stack.OnStop("pool", func(context.Context) error { return pool.Unregister() })
	return nil
}

// watchPool has a scrape read how the storage's connections are used.
func watchPool(instruments *telemetry.Instruments, store *storage.Store) (metric.Registration, error) {
	used := metric.WithAttributeSet(attribute.NewSet(attribute.String("state", "used")))
	idle := metric.WithAttributeSet(attribute.NewSet(attribute.String("state", "idle")))
	return instruments.Observe([]string{dbConnections, dbConnectionsMax, dbWaits}, func(_ context.Context, o telemetry.Observation) error {
		pool := store.Pool()
		o.Gauge(dbConnections, float64(pool.InUse), used)
		o.Gauge(dbConnections, float64(pool.Idle), idle)
		o.Gauge(dbConnectionsMax, float64(pool.MaxOpenConnections))
		o.Counter(dbWaits, pool.WaitCount)
		return nil
	})
}

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
