package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/vigie-dev/vigie/internal/record"
)

// Pending is what one batch of a partition's records caused and what has
// perhaps not been published.
type Pending struct {
	Source     record.Partition
	LastOffset int64 // of the batch
	Messages   []record.Message
}

const (
	insertOutbox = `INSERT INTO outbox (source_topic, source_partition, last_offset, size, messages) VALUES ($1, $2, $3, $4, $5)`
	selectOutbox = `SELECT last_offset, messages FROM outbox
WHERE source_topic = $1 AND source_partition = $2 ORDER BY last_offset LIMIT 1`
	selectAllOutbox = `SELECT source_topic, source_partition, last_offset, messages FROM outbox
ORDER BY source_topic, source_partition, last_offset`
	deleteOutbox = `DELETE FROM outbox WHERE source_topic = $1 AND source_partition = $2 AND last_offset <= $3`
	countOutbox  = `SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM outbox`
)

// Enqueue puts the messages of a batch into the outbox, in order. A batch is
// one row: what is published together is written and marked together.
func (t *Tx) Enqueue(ctx context.Context, source record.Partition, lastOffset int64, messages []record.Message) error {
	if len(messages) == 0 {
		return nil
	}
	text := encodeMessages(messages)
	if _, err := t.Exec(ctx, insertOutbox, source.Topic, source.ID, lastOffset, len(messages), text); err != nil {
		return fmt.Errorf("write outbox of %s: %w", source, err)
	}
	return nil
}

// Outbox returns the oldest batch of the partition that is not marked as
// published, and whether there is one.
func (s *Store) Outbox(ctx context.Context, source record.Partition) (p Pending, found bool, err error) {
	p.Source = source
	var text []byte
	err = s.QueryRow(ctx, selectOutbox, source.Topic, source.ID).Scan(&p.LastOffset, &text)
	if IsNotFound(err) {
		return Pending{}, false, nil
	}
	if err == nil {
		p.Messages, err = decodeMessages(text)
	}
	if err != nil {
		return Pending{}, false, fmt.Errorf("read outbox of %s: %w", source, err)
	}
	return p, true, nil
}

// AllPending returns everything in the outbox, for those who look on.
func (s *Store) AllPending(ctx context.Context) ([]Pending, error) {
	rows, err := s.Query(ctx, selectAllOutbox)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	defer func() { _ = rows.Close() }()
	return scanPending(rows.Rows)
}

func scanPending(rows *sql.Rows) ([]Pending, error) {
	var all []Pending
	err := each(rows, func(rows *sql.Rows) error {
		var p Pending
		var text []byte
		err := rows.Scan(&p.Source.Topic, &p.Source.ID, &p.LastOffset, &text)
		if err == nil {
			p.Messages, err = decodeMessages(text)
		}
		all = append(all, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return all, nil
}

// MarkPublished forgets the batches up to and including an offset: Kafka has
// what they caused.
func (t *Tx) MarkPublished(ctx context.Context, source record.Partition, lastOffset int64) error {
	if _, err := t.Exec(ctx, deleteOutbox, source.Topic, source.ID, lastOffset); err != nil {
		return fmt.Errorf("mark outbox of %s: %w", source, err)
	}
	return nil
}

// OutboxSize returns how many messages wait in the outbox.
func (s *Store) OutboxSize(ctx context.Context) (n int64, err error) {
	if err := s.QueryRow(ctx, countOutbox).Scan(&n); err != nil {
		return 0, fmt.Errorf("count outbox: %w", err)
	}
	return n, nil
}
