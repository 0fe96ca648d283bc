package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/vigie-dev/vigie/internal/record"
)

// ErrFenced: the partition's position in storage is not where the caller left
// it. Another owner has gone on; whoever gets this error must change nothing
// and drop its claim.
var ErrFenced = errors.New("another owner has moved this partition on")

const (
	selectPosition = `SELECT next_offset FROM positions WHERE topic = $1 AND partition = $2`
	insertPosition = `INSERT INTO positions (topic, partition, next_offset) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	updatePosition = `UPDATE positions SET next_offset = $4 WHERE topic = $1 AND partition = $2 AND next_offset = $3`
)

// Position returns the next offset to process, and false where the partition
// has never been read.
func (s *Store) Position(ctx context.Context, p record.Partition) (next int64, known bool, err error) {
	err = s.QueryRow(ctx, selectPosition, p.Topic, p.ID).Scan(&next)
	if IsNotFound(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read position of %s: %w", p, err)
	}
	return next, true, nil
}

// StartAt stores where reading of a partition begins, unless it already began.
func (s *Store) StartAt(ctx context.Context, p record.Partition, next int64) error {
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, insertPosition, p.Topic, p.ID, next)
		return err
	})
}

// Advance moves a partition's position by compare-and-set within the
// transaction, and answers [ErrFenced] where it no longer stands at from.
func (t *Tx) Advance(ctx context.Context, p record.Partition, from, to int64) error {
	n, err := t.Exec(ctx, updatePosition, p.Topic, p.ID, from, to)
	if err != nil {
		return fmt.Errorf("advance %s to %d: %w", p, to, err)
	}
	if n != 1 {
		return fmt.Errorf("advance %s from %d to %d: %w", p, from, to, ErrFenced)
	}
	return nil
}
