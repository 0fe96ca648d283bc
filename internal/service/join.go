package service

import (
	"context"
	"io/fs"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Join returns a base by which a service outside the bank consumes its topics: it has a stack and
// a readiness of its own, so that what it waits for holds up nothing else. Nothing is opened
// yet; a base that joins one whose storage is open shares that.
//
// Records that it processes have spans of its own, linked to those that sent them: who looks
// on is no part of an order's trace.
func (b *Base) Join() (*Base, error) {
	joined := *b
	joined.Stack, joined.Ready = &lifecycle.Stack{}, &httpapi.Readiness{}
	var err error
	joined.Instrument, err = joined.instrument(true)
	return &joined, err
}

// OpenStore opens the storage, with migrations in a folder of that name.
func (b *Base) OpenStore(ctx context.Context, migrations fs.FS) error {
	b.Definition.Migrations = migrations
	return b.openStore(ctx, b.settings)
}

// Connect waits for Kafka, makes the bank's topics, and checks that the storage belongs to
// them.
func (b *Base) Connect(ctx context.Context) error {
	return b.connect(ctx, b.settings)
}

// Stores says whether there is a place for a storage.
func (b *Base) Stores() bool { return b.settings.DatabaseURL != "" }

// Clocks are those that the service goes by; nil for the system's.
func (b *Base) Clocks() storage.Clocks { return b.settings.Clocks }
