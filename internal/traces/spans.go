package traces

import (
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
)

// spans returns what the topics' partitions of the key hold, from a margin
// before the time on. All writers choose the partition by sarama's hash.
func (s Source) spans(key string, from time.Time, topics []string) ([]kafka.Span, error) {
	bounds, err := kafka.Bounds(s.Client, topics...)
	if err != nil {
		return nil, err
	}
	var out []kafka.Span
	for _, topic := range topics {
		partition, err := s.partition(topic, key)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(bounds, func(b kafka.Span) bool { return b.Topic == topic && b.ID == partition })
		if i < 0 {
			return nil, fmt.Errorf("%s has no partition %d", topic, partition)
		}
		span := bounds[i]
		if !from.IsZero() {
			at, err := s.offset(span, from.Add(-margin))
			if err != nil {
				return nil, err
			}
			span.Start = min(max(span.Start, at), span.End)
		}
		out = append(out, span)
	}
	return out, nil
}

// partition is where records with the key are.
func (s Source) partition(topic, key string) (int32, error) {
	partitions, err := s.Client.Partitions(topic)
	if err != nil {
		return 0, fmt.Errorf("list partitions of %s: %w", topic, err)
	}
	id, err := sarama.NewHashPartitioner(topic).Partition(
		&sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(key)}, int32(len(partitions))) //nolint:gosec // few
	if err != nil {
		return 0, fmt.Errorf("choose a partition of %s: %w", topic, err)
	}
	return id, nil
}

// cut ends the spans where records become younger than the time.
func (s Source) cut(spans []kafka.Span, until time.Time) error {
	for i, span := range spans {
		at, err := s.offset(span, until)
		if err != nil {
			return err
		}
		spans[i].End = max(span.Start, min(span.End, at))
	}
	return nil
}

// offset is that of the first record written at that time or later, or the
// span's end.
func (s Source) offset(span kafka.Span, at time.Time) (int64, error) {
	offset, err := s.Client.GetOffset(span.Topic, span.ID, max(at.UnixMilli(), 0))
	if err != nil {
		return 0, fmt.Errorf("ask for the offset of a time in %s: %w", span.Partition, err)
	}
	if offset < 0 { // all records are older
		return span.End, nil
	}
	return offset, nil
}

func length(spans []kafka.Span) (n int64) {
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}
