package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/record"
)

// Span is the part of a partition's log that a [Scan] reads: Start ≤ offset < End.
type Span struct {
	record.Partition
	Start, End int64
}

// Bounds returns what the topics' logs hold at this moment.
func Bounds(client sarama.Client, topics ...string) ([]Span, error) {
	var out []Span
	for _, topic := range topics {
		ids, err := client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("list partitions of %s: %w", topic, err)
		}
		for _, id := range ids {
			s := Span{Partition: record.Partition{Topic: topic, ID: id}}
			if s.Start, err = client.GetOffset(topic, id, sarama.OffsetOldest); err != nil {
				return nil, fmt.Errorf("ask for the start of %s: %w", s.Partition, err)
			}
			if s.End, err = client.GetOffset(topic, id, sarama.OffsetNewest); err != nil {
				return nil, fmt.Errorf("ask for the end of %s: %w", s.Partition, err)
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// Scan reads the spans, outside any consumer group, and gives their records to
// read: in order within a partition, several partitions at a time. It returns
// when all has been read, or with the first error.
func Scan(ctx context.Context, cfg Config, spans []Span, read func(record.Record) error) (err error) {
	client, err := cfg.ConnectConsumer()
	if err != nil {
		return fmt.Errorf("connect reader: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return fmt.Errorf("make reader: %w", err)
	}
	defer func() { err = errors.Join(err, consumer.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range spans {
		if s.Start < s.End {
			group.Go(func() error { return scanOne(ctx, consumer, s, read) })
		}
	}
	return group.Wait()
}

func scanOne(ctx context.Context, consumer sarama.Consumer, s Span, read func(record.Record) error) (err error) {
	part, err := consumer.ConsumePartition(s.Topic, s.ID, s.Start)
	if err != nil {
		return fmt.Errorf("read %s from %d: %w", s.Partition, s.Start, err)
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	for {
		select {
		case m, ok := <-part.Messages():
			if !ok {
				return fmt.Errorf("read %s: the log ended before offset %d", s.Partition, s.End)
			}
			if m.Offset >= s.End { // the last offsets held no records, such as markers
				return nil
			}
			if err := read(Received(m)); err != nil {
				return err
			}
			if m.Offset == s.End-1 {
				return nil
			}
		case failure, ok := <-part.Errors():
			if ok {
				return fmt.Errorf("read %s: %w", s.Partition, failure.Err)
			}
			return fmt.Errorf("read %s: the log ended before offset %d", s.Partition, s.End)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
