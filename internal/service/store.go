package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
)

// timer returns what records durations in a histogram.
func (b *Base) timer(name string) (func(time.Duration), error) {
	histogram, err := b.Telemetry.Instruments().Float64Histogram(name)
	return func(took time.Duration) { histogram.Record(context.Background(), took.Seconds()) }, err
}

// openStore opens the storage, whose schema it brings up to date.
func (b *Base) openStore(ctx context.Context, settings Settings) (err error) {
	if settings.DatabaseURL == "" {
		return errors.New("no DATABASE_URL")
	}
	took, err := b.timer(storageUpdate)
	if err != nil {
		return err
	}
	own := b.Definition.Migrations
	if own != nil {
		if own, err = fs.Sub(own, "migrations"); err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
	}
	b.Store, err = storage.Open(ctx, settings.DatabaseURL, b.Definition.Name, own,
		storage.MaxConnections(settings.DatabaseConnections), storage.WithClocks(settings.Clocks),
		storage.OnUpdate(took))
	if err != nil {
		return err
	}
	b.Stack.OnStop("storage", func(context.Context) error { return b.Store.Close() })
	b.Ready.Add("storage", b.Store.Check)
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
