package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
)

// OfStorage returns what can go wrong with a service's storage, in SQLite.
func OfStorage(databaseURL, service string) []Fault {
	return []Fault{{
		Name: "storage-locked", Does: fmt.Sprintf("Another program has a transaction open on %s's database, which can be read and not written.", service),
		Alert: "StorageNotWritable", Within: 2 * time.Minute, Follows: []string{"OrdersNotDecided", "OrdersFreshnessBurn"},
		Run: func(ctx context.Context, inForce func()) error {
			release, err := storage.HoldWrites(ctx, databaseURL, service)
			if err != nil {
				return err
			}
			inForce()
			<-ctx.Done()
			return release()
		},
	}, {
		Name: "storage-slow", Does: fmt.Sprintf("Another program writes to %s's database nearly all the time: each change waits for it.", service),
		Alert: "DatabaseSlow", Within: 5 * time.Minute, Follows: []string{"OrdersNotDecided", "OrdersFreshnessBurn"},
		Run: func(ctx context.Context, inForce func()) error { return contend(ctx, databaseURL, service, inForce) },
	}}
}

const (
	// held is how long the other program's transactions take, and between how long it takes a
	// break: SQLite looks at least so often whether it may go on.
	held    = 1500 * time.Millisecond
	between = 150 * time.Millisecond
)

// contend writes to a service's database for most of the time.
func contend(ctx context.Context, databaseURL, service string, inForce func()) error {
	for first := true; ctx.Err() == nil; first = false {
		release, err := storage.HoldWrites(ctx, databaseURL, service)
		switch {
		case err != nil && first:
			return err
		case err == nil:
			inForce()
			_ = lifecycle.Sleep(ctx, held) // it is released in any case
			if err := release(); err != nil {
				return err
			}
		}
		_ = lifecycle.Sleep(ctx, between)
	}
	return nil
}
