package faults

import (
	"context"
	"fmt"
	"time"

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
	}}
}
