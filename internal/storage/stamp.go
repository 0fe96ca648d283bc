package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrForeign: the storage belongs to another Kafka cluster, or to topics that
// have been deleted and made anew since. Its offsets mean nothing here.
var ErrForeign = errors.New("storage belongs to another cluster or to deleted topics")

const (
	deleteStamp = `DELETE FROM stamp`
	selectStamp = `SELECT value FROM stamp WHERE name = $1`
	insertStamp = `INSERT INTO stamp (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`
)

// ClearStamp unbinds the storage from the cluster that it was made for.
func (t *Tx) ClearStamp(ctx context.Context) error {
	_, err := t.Exec(ctx, deleteStamp)
	return err
}

// Stamp binds the storage to identities (the cluster's id, each topic's id)
// the first time, and afterwards answers [ErrForeign] with the name of the
// first that differs. Names not seen before are added.
func (s *Store) Stamp(ctx context.Context, identities map[string]string) error {
	return s.Update(ctx, func(tx *Tx) error {
		for _, name := range slices.Sorted(maps.Keys(identities)) {
			if _, err := tx.Exec(ctx, insertStamp, name, identities[name]); err != nil {
				return fmt.Errorf("stamp storage: %w", err)
			}
			var stored string
			if err := tx.QueryRow(ctx, selectStamp, name).Scan(&stored); err != nil {
				return fmt.Errorf("read stamp: %w", err)
			}
			if stored != identities[name] {
				return fmt.Errorf("%w: %s is %s, the storage was made for %s", ErrForeign, name, identities[name], stored)
			}
		}
		return nil
	})
}
