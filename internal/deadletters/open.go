package deadletters

import (
	"context"
	"fmt"
	"slices"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Open reads the letters again, whole, and gives each to read: in order within
// a partition, several partitions at a time. Letters that retention has deleted
// meanwhile are not given.
func (s Source) Open(ctx context.Context, letters []Letter, read func(Whole) error) error {
	wanted := make(map[record.Place]Letter, len(letters))
	for _, l := range letters {
		wanted[l.ID] = l
	}
	spans, err := s.spans(letters)
	if err != nil {
		return err
	}
	err = kafka.Scan(ctx, s.Kafka, spans, func(r record.Record) error {
		letter, ok := wanted[r.Place]
		if !ok {
			return nil
		}
		w := parseLetter(r)
		w.Resolution = letter.Resolution
		return read(w)
	})
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	return nil
}

// spans covers the letters, as far as they are still there, with one span for
// each partition.
func (s Source) spans(letters []Letter) ([]kafka.Span, error) {
	covering := map[record.Partition]kafka.Span{}
	for _, l := range letters {
		p := l.ID.Partition
		c, ok := covering[p]
		if !ok {
			c = kafka.Span{Partition: p, Start: l.ID.Offset}
		}
		c.Start, c.End = min(c.Start, l.ID.Offset), max(c.End, l.ID.Offset+1)
		covering[p] = c
	}
	var topics []string
	for p := range covering {
		if !slices.Contains(topics, p.Topic) {
			topics = append(topics, p.Topic)
		}
	}
	present, err := s.bounds(topics)
	if err != nil {
		return nil, err
	}
	var out []kafka.Span
	for _, b := range present {
		c, ok := covering[b.Partition]
		c.Start, c.End = max(c.Start, b.Start), min(c.End, b.End)
		if ok && c.Start < c.End {
			out = append(out, c)
		}
	}
	return out, nil
}
