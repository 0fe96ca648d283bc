package storage

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
)

// Errors of the delivery loop's own state.
var (
	// ErrFenced: the partition's position in storage is not where the caller
	// left it. Another owner has gone on; a caller that gets this error must
	// change nothing and drop its claim.
	ErrFenced = errors.New("another owner has moved this partition on")
	// ErrForeign: the storage belongs to another Kafka cluster, or to topics that
	// have been deleted and made again since. Its offsets mean nothing here.
	ErrForeign = errors.New("storage belongs to another cluster or to deleted topics")
)

const (
	selectPosition  = `SELECT next_offset FROM positions WHERE topic = $1 AND partition = $2`
	selectPositions = `SELECT topic, partition, next_offset FROM positions`
	insertPosition  = `INSERT INTO positions (topic, partition, next_offset) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	updatePosition  = `UPDATE positions SET next_offset = $4, newest_us = CASE WHEN newest_us < $5 THEN $5 ELSE newest_us END
WHERE topic = $1 AND partition = $2 AND next_offset = $3`

	insertOutbox = `INSERT INTO outbox (source_topic, source_partition, last_offset, messages) VALUES ($1, $2, $3, $4)`
	selectOutbox = `SELECT last_offset, messages FROM outbox
WHERE source_topic = $1 AND source_partition = $2 ORDER BY last_offset LIMIT 1`
	selectAllOutbox = `SELECT source_topic, source_partition, last_offset, messages FROM outbox
ORDER BY source_topic, source_partition, last_offset`
	deleteOutbox = `DELETE FROM outbox WHERE source_topic = $1 AND source_partition = $2 AND last_offset <= $3`

	deleteStamp  = `DELETE FROM stamp`
	selectStamp  = `SELECT value FROM stamp WHERE name = $1`
	selectStamps = `SELECT name, value FROM stamp ORDER BY name`
	insertStamp  = `INSERT INTO stamp (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`
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
// transaction, and returns [ErrFenced] where it no longer stands at from. newest
// is the largest time of the records in between, zero where none has one.
func (t *Tx) Advance(ctx context.Context, p record.Partition, from, to int64, newest time.Time) error {
	var micros int64 // 0 and less is no time of a record
	if !newest.IsZero() {
		micros = newest.UnixMicro()
	}
	n, err := t.Exec(ctx, updatePosition, p.Topic, p.ID, from, to, micros)
	if err != nil {
		return fmt.Errorf("advance %s to %d: %w", p, to, err)
	}
	if n != 1 {
		return fmt.Errorf("advance %s from %d to %d: %w", p, from, to, ErrFenced)
	}
	return nil
}

// Positions returns the next offset to process of every partition that the
// service has begun to read.
func (s *Snapshot) Positions(ctx context.Context) (map[record.Partition]int64, error) {
	out := map[record.Partition]int64{}
	err := s.each(ctx, selectPositions, func(rows *sql.Rows) error {
		var p record.Partition
		var next int64
		err := rows.Scan(&p.Topic, &p.ID, &next)
		out[p] = next
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	return out, nil
}

// Pending is what one batch of a partition's records caused and what has
// perhaps not been published.
type Pending struct {
	Source     record.Partition
	LastOffset int64 // of the batch
	Messages   []record.Message
}

// Enqueue puts the messages of a batch into the outbox, in order. A batch is
// one row: what is published together is written and marked together.
func (t *Tx) Enqueue(ctx context.Context, source record.Partition, lastOffset int64, messages []record.Message) error {
	if len(messages) == 0 {
		return nil
	}
	text := encodeMessages(messages)
	if _, err := t.Exec(ctx, insertOutbox, source.Topic, source.ID, lastOffset, text); err != nil {
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

// MarkPublished forgets the batches up to and including an offset: Kafka has
// what they caused.
func (t *Tx) MarkPublished(ctx context.Context, source record.Partition, lastOffset int64) error {
	if _, err := t.Exec(ctx, deleteOutbox, source.Topic, source.ID, lastOffset); err != nil {
		return fmt.Errorf("mark outbox of %s: %w", source, err)
	}
	return nil
}

// Pending returns everything in the outbox, oldest first within a partition.
func (s *Snapshot) Pending(ctx context.Context) ([]Pending, error) {
	var all []Pending
	err := s.each(ctx, selectAllOutbox, func(rows *sql.Rows) error {
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

// The outbox keeps messages as bytes, exactly: a dead letter's headers and
// value may be anything. A batch is a version byte and a sequence of byte
// strings, each a length and its bytes; length 0 stands for null, n+1 for n
// bytes. A message is its topic, key, value, number of headers, and each
// header's key and value.

const encodingVersion = 1

// errEncoding says that an outbox row is not what this package writes.
var errEncoding = fmt.Errorf("%w: an outbox row is damaged or of a newer version", ErrDamaged)

func encodeMessages(messages []record.Message) []byte {
	out := binary.AppendUvarint([]byte{encodingVersion}, uint64(len(messages)))
	for _, m := range messages {
		out = appendBytes(out, []byte(m.Topic))
		out = appendBytes(out, m.Key)
		out = appendBytes(out, m.Value)
		out = binary.AppendUvarint(out, uint64(len(m.Headers)))
		for _, h := range m.Headers {
			out = appendBytes(out, []byte(h.Key))
			out = appendBytes(out, h.Value)
		}
	}
	return out
}

func appendBytes(out, b []byte) []byte {
	if b == nil {
		return append(out, 0)
	}
	return append(binary.AppendUvarint(out, uint64(len(b))+1), b...)
}

func decodeMessages(text []byte) ([]record.Message, error) {
	if len(text) == 0 || text[0] != encodingVersion {
		return nil, errEncoding
	}
	d := decoder{rest: text[1:]}
	var messages []record.Message
	for range d.count() {
		m := record.Message{Topic: string(d.bytes()), Key: d.bytes(), Value: d.bytes()}
		for range d.count() {
			m.Headers = append(m.Headers, record.Header{Key: string(d.bytes()), Value: d.bytes()})
		}
		messages = append(messages, m)
	}
	if d.damaged || len(d.rest) > 0 {
		return nil, errEncoding
	}
	return messages, nil
}

// decoder reads what is left; once something did not fit it gives nothing more.
type decoder struct {
	rest    []byte
	damaged bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || d.damaged {
		d.damaged = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// count is a number of things that take at least a byte each.
func (d *decoder) count() uint64 {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.damaged = true
		return 0
	}
	return n
}

func (d *decoder) bytes() []byte {
	n := d.number()
	if n == 0 {
		return nil
	}
	if n-1 > uint64(len(d.rest)) {
		d.damaged = true
		return nil
	}
	b := d.rest[: n-1 : n-1]
	d.rest = d.rest[n-1:]
	return b
}

// ClearStamp unbinds the storage from the cluster that it was made for.
func (t *Tx) ClearStamp(ctx context.Context) error {
	_, err := t.Exec(ctx, deleteStamp)
	return err
}

// Stamp binds the storage to identities (the cluster's id, each topic's id)
// the first time, and afterwards returns [ErrForeign] with the name of the
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
				return foreignError(name, identities[name], stored)
			}
		}
		return nil
	})
}

// Stamps returns the identities that the storage is bound to; empty for none.
func (s *Snapshot) Stamps(ctx context.Context) (map[string]string, error) {
	stamps := map[string]string{}
	err := s.each(ctx, selectStamps, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		stamps[name] = value
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read stamp: %w", err)
	}
	return stamps, nil
}

// CheckStamp returns [ErrForeign] where the storage belongs to another cluster
// or to other topics than the identities say. Unlike [Store.Stamp] it binds
// nothing.
func (s *Snapshot) CheckStamp(ctx context.Context, identities map[string]string) error {
	err := s.each(ctx, selectStamps, func(rows *sql.Rows) error {
		var name, stored string
		if err := rows.Scan(&name, &stored); err != nil {
			return err
		}
		if now, ok := identities[name]; ok && now != stored {
			return foreignError(name, now, stored)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrForeign) {
		return fmt.Errorf("read stamp: %w", err)
	}
	return err
}

func foreignError(name, now, stored string) error {
	return fmt.Errorf("%w: %s is %s, the storage was made for %s", ErrForeign, name, now, stored)
}
