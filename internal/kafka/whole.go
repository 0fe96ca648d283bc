package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
)

// Those who conclude something from what a log does not hold must know that they
// have seen all of it. Two things can be missing from what is read: records that
// stand behind a transaction that somebody has open, and records that the log has
// lost in its middle.

// Written returns where the topics' logs end at this moment, whether what stands
// there can be read yet or an open transaction hides it. It asks once.
func (c Cluster) Written(_ context.Context, topics ...string) (map[record.Partition]int64, error) {
	return ends(c.Client, sarama.ReadUncommitted, topics)
}

// Ends implements [Log].
func (c Cluster) Ends(_ context.Context, topics ...string) (map[record.Partition]int64, error) {
	return ends(c.Client, sarama.ReadCommitted, topics)
}

func ends(client *Client, isolation sarama.IsolationLevel, topics []string) (map[record.Partition]int64, error) {
	admin, err := sarama.NewClusterAdminFromClient(client.Client)
	if err != nil {
		return nil, fmt.Errorf("read the ends of logs: %w", err)
	}
	ends := map[record.Partition]int64{}
	for _, topic := range topics {
		ids, err := client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("list partitions of %s: %w", topic, err)
		}
		of, err := offsets(admin, isolation, topic, ids, sarama.OffsetNewest)
		if err != nil { // the leaders may be others by now
			return nil, errors.Join(fmt.Errorf("read the end of %s: %w", topic, err), client.RefreshMetadata(topic))
		}
		for id, end := range of {
			ends[record.Partition{Topic: topic, ID: id}] = end
		}
	}
	return ends, nil
}

// HiddenError says which part of the logs an open transaction hides.
type HiddenError struct{ Spans []Span }

// Error names partitions and offsets.
func (e *HiddenError) Error() string {
	var parts []string
	for _, s := range e.Spans {
		parts = append(parts, fmt.Sprintf("%s from offset %d to %d", s.Partition, s.Start, s.End-1))
	}
	return "an open transaction hides what stands in " + strings.Join(parts, ", ") + " until it ends"
}

// Hidden returns a [HiddenError] where less of the logs can be read than was
// written, nil otherwise.
func Hidden(written map[record.Partition]int64, readable []Span) error {
	var hidden []Span
	for _, s := range readable {
		if end := written[s.Partition]; s.End < end {
			hidden = append(hidden, Span{s.Partition, s.End, end})
		}
	}
	if hidden == nil {
		return nil
	}
	return &HiddenError{hidden}
}

// hiddenEvery is how often an open transaction is looked at again.
const hiddenEvery = time.Second

// WholeBounds returns what the topics' logs hold, as [Log.Bounds] does, once all
// can be read that stood there when it was called: transactions that were open
// then have ended. Each time that it has to wait it calls waiting with a
// [HiddenError]. It ends with ctx, or with waiting's error.
func WholeBounds(ctx context.Context, log Log, waiting func(hidden error) error, topics ...string) ([]Span, error) {
	if _, err := log.Bounds(ctx, topics...); err != nil { // which looks for partitions that were added
		return nil, err
	}
	written, err := log.Written(ctx, topics...)
	if err != nil {
		return nil, err
	}
	for {
		spans, err := log.Bounds(ctx, topics...)
		if err != nil {
			return nil, err
		}
		hidden := Hidden(written, spans)
		if hidden == nil {
			return spans, nil
		}
		if err := waiting(hidden); err != nil {
			return nil, err
		}
		if err := lifecycle.Sleep(ctx, hiddenEvery); err != nil {
			return nil, fmt.Errorf("%w: %w", err, hidden)
		}
	}
}
