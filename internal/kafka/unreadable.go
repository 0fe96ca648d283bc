package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/record"
)

// BoundDecompression has every reader of this process refuse batches that
// decompress to more than [record.MaxDecompressed]. It is called before any connects.
func BoundDecompression() { sarama.MaxDecompressedBatchSize = record.MaxDecompressed }

// ErrUnreadable: a batch in a log is no batch that anything can be made of, or a
// too large one. Waiting does not change that: somebody has to decide what
// becomes of it.
var ErrUnreadable = errors.New("a batch in the log cannot be read")

// UnreadableError is an [ErrUnreadable] that says which batch it is.
type UnreadableError struct {
	record.Place       // the first offset of it that was to be read
	Next         int64 // the first offset after it that can be; 0 where none can yet
	Err          error
}

// Error implements error.
func (e *UnreadableError) Error() string {
	text := fmt.Sprintf("%v: %s at offset %d", ErrUnreadable, e.Partition, e.Offset)
	if e.Next > 0 {
		text += fmt.Sprintf(", the next that can be read is offset %d", e.Next)
	}
	return fmt.Sprintf("%s: %v", text, e.Err)
}

// Unwrap returns [ErrUnreadable] and what is wrong with the batch.
func (e *UnreadableError) Unwrap() []error { return []error{ErrUnreadable, e.Err} }

// errDecode: an answer came, and no sense can be made of a batch in it.
var errDecode = errors.New("a batch is not what it says")

// first reads one batch of a log, the one with an offset in it, whatever comes
// after it. Where it cannot be read the error is an [*UnreadableError].
func (c *Client) first(p record.Partition, from int64) (fetched, error) {
	piece, err := c.fetchBytes(p, from, 1) // brokers give one batch at least
	if errors.Is(err, errDecode) {
		err = &UnreadableError{Place: record.Place{Partition: p, Offset: from}, Next: c.after(p, from), Err: err}
	}
	return piece, err
}

// after looks for the first offset behind a batch that cannot be read.
func (c *Client) after(p record.Partition, from int64) int64 {
	end, err := c.GetOffset(p.Topic, p.ID, sarama.OffsetNewest)
	if err != nil {
		return 0
	}
	readable := func(at int64) bool {
		_, err := c.fetchBytes(p, at, 1)
		return err == nil
	}
	last, step := from, int64(1) // an offset that cannot be read, and how far to go from there
	for at := from + step; ; at = last + step {
		if at = min(at, end); at == end || readable(at) {
			for at-last > 1 {
				if middle := last + (at-last)/2; readable(middle) {
					at = middle
				} else {
					last = middle
				}
			}
			return at
		}
		last, step = at, 2*step
	}
}

// Missed reads what a log has from an offset on, one batch at least, to a
// function. It returns the offset after what it has read, which is the same one
// where there is nothing to be read yet.
func (c *Client) Missed(ctx context.Context, p record.Partition, from int64, read func(record.Record) error) (next int64, err error) {
	if end, err := c.GetOffset(p.Topic, p.ID, sarama.OffsetNewest); err != nil || end <= from {
		return from, err // without waiting for a broker that has nothing to give
	}
	piece, err := c.fetch(p, from)
	if errors.Is(err, errNothing) {
		return from, nil
	}
	if err != nil {
		return from, fmt.Errorf("read %s from %d: %w", p, from, err)
	}
	for _, r := range piece.records {
		if err := ctx.Err(); err != nil {
			return from, err
		}
		if err := read(r); err != nil {
			return from, err
		}
	}
	return piece.next, nil
}
