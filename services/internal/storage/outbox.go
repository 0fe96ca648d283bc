package storage

import (
	"context"
	"encoding/json"
	"fmt"
)

// Header is one header of a record, in the record's order.
type Header struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

// Message is a record that was decided and has to be published.
type Message struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Pending is a message in the outbox, with the offset of the record that
// caused it.
type Pending struct {
	Message
	SourceOffset int64
}

const (
	insertOutbox = `INSERT INTO outbox (source_topic, source_partition, source_offset, part, topic, record_key, record_value, headers)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	selectOutbox = `SELECT source_offset, topic, record_key, record_key IS NULL, record_value, record_value IS NULL, headers FROM outbox
WHERE source_topic = $1 AND source_partition = $2 ORDER BY source_offset, part LIMIT $3`
	deleteOutbox = `DELETE FROM outbox WHERE source_topic = $1 AND source_partition = $2 AND source_offset <= $3`
	countOutbox  = `SELECT COUNT(*) FROM outbox`
)

// Enqueue puts the messages that one record caused into the outbox, in order.
func (t *Tx) Enqueue(ctx context.Context, source Partition, offset int64, messages []Message) error {
	for part, m := range messages {
		headers, err := json.Marshal(m.Headers)
		if err != nil {
			return fmt.Errorf("encode headers for %s: %w", m.Topic, err)
		}
		if _, err := t.Exec(ctx, insertOutbox, source.Topic, source.ID, offset, part,
			m.Topic, m.Key, m.Value, string(headers)); err != nil {
			return fmt.Errorf("enqueue for %s: %w", m.Topic, err)
		}
	}
	return nil
}

// Outbox returns at most limit messages that the partition's records caused
// and that are not marked as published, oldest first.
func (s *Store) Outbox(ctx context.Context, source Partition, limit int) ([]Pending, error) {
	rows, err := s.Query(ctx, selectOutbox, source.Topic, source.ID, limit)
	if err != nil {
		return nil, fmt.Errorf("read outbox of %s: %w", source, err)
	}
	defer func() { _ = rows.Close() }()
	var out []Pending
	for rows.Next() {
		var p Pending
		var headers string
		var nullKey, nullValue bool
		if err := rows.Scan(&p.SourceOffset, &p.Topic, &p.Key, &nullKey, &p.Value, &nullValue, &headers); err != nil {
			return nil, fmt.Errorf("read outbox of %s: %w", source, err)
		}
		p.Key, p.Value = orNull(p.Key, nullKey), orNull(p.Value, nullValue)
		if err := json.Unmarshal([]byte(headers), &p.Headers); err != nil {
			return nil, fmt.Errorf("decode headers in outbox of %s: %w", source, err)
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// orNull tells null from empty bytes, which the driver reads alike.
func orNull(b []byte, null bool) []byte {
	if b == nil && !null {
		return []byte{}
	}
	return b
}

// MarkPublished forgets the messages that records up to and including the
// offset caused: Kafka has them.
func (s *Store) MarkPublished(ctx context.Context, source Partition, offset int64) error {
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, deleteOutbox, source.Topic, source.ID, offset)
		return err
	})
}

// OutboxSize returns how many messages wait in the outbox.
func (s *Store) OutboxSize(ctx context.Context) (n int64, err error) {
	if err := s.QueryRow(ctx, countOutbox).Scan(&n); err != nil {
		return 0, fmt.Errorf("count outbox: %w", err)
	}
	return n, nil
}
