package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// TopicPartition names one partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Lag follows what is left to process in the partitions assigned to this instance and feeds kafka_consumer_lag
// and kafka_consumer_lag_seconds. All methods are safe for concurrent use; a scrape reads memory only.
//
// Lag counts from the next offset to process, not from the offset last fetched or committed, so a stuck handler's
// lag grows. Under read_committed, the log's end is the last stable offset; the marker that ends a transaction
// takes an offset of its own, so lag can rest at one there until the next record.
type Lag struct {
	source   OffsetSource
	interval time.Duration
	logger   *slog.Logger
	now      func() time.Time
	wake     chan struct{}
	gauges   []metric.Registration

	mu    sync.Mutex
	parts map[TopicPartition]*progress
}

// NewLag returns a tracker that asks the client's brokers for the ends of the log every interval while
// [Lag.Run] runs. The client stays the caller's to close.
func NewLag(inst *Instrumentation, client sarama.Client, interval time.Duration) (*Lag, error) {
	return NewLagFrom(inst, &brokerOffsets{client: client}, interval)
}

// NewLagFrom is [NewLag] with another source of offsets.
func NewLagFrom(inst *Instrumentation, source OffsetSource, interval time.Duration) (*Lag, error) {
	if interval <= 0 {
		return nil, fmt.Errorf("track lag: interval %v is not positive", interval)
	}
	l := &Lag{
		source: source, interval: interval, logger: inst.logger, now: time.Now,
		wake: make(chan struct{}, 1), parts: make(map[TopicPartition]*progress),
	}
	records, err := inst.instruments.Int64ObservableGauge(telemetry.KafkaConsumerLag, l.observeRecords)
	if err != nil {
		return nil, fmt.Errorf("track lag: %w", err)
	}
	l.gauges = append(l.gauges, records)
	seconds, err := inst.instruments.Float64ObservableGauge(telemetry.KafkaConsumerLagSeconds, l.observeSeconds)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("track lag: %w", err), l.Close())
	}
	l.gauges = append(l.gauges, seconds)
	return l, nil
}

// Close takes the gauges off the page. Stop Run first.
func (l *Lag) Close() error {
	var errs []error
	for _, g := range l.gauges {
		errs = append(errs, g.Unregister())
	}
	return errors.Join(errs...)
}

// Assign starts following a partition whose next offset to process is next; sarama.OffsetOldest and
// sarama.OffsetNewest are resolved by the next poll, which follows at once. The partition's series appear with
// the first end that is known.
func (l *Lag) Assign(topic string, partition int32, next int64) {
	options := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("topic", topic), attribute.String("partition", strconv.Itoa(int(partition)))))
	l.mu.Lock()
	l.parts[TopicPartition{topic, partition}] = &progress{next: next, options: []metric.ObserveOption{options}}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // a poll is due already
	}
}

// Advance says that next is now the first offset not processed. nextRecordTime is the timestamp of the record at
// next if it is in hand, else zero. A partition that is not assigned is ignored.
func (l *Lag) Advance(topic string, partition int32, next int64, nextRecordTime time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.parts[TopicPartition{topic, partition}]; p != nil {
		p.advance(next, nextRecordTime)
	}
}

// Revoke stops following a partition: its series are gone from the next scrape on.
func (l *Lag) Revoke(topic string, partition int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parts, TopicPartition{topic, partition})
}

// CaughtUp reports whether every assigned partition has been processed up to the end that was seen first after
// its assignment. It is false while one such end is not known yet, and true with nothing assigned: see
// [Lag.Assigned].
func (l *Lag) CaughtUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		if !p.caughtUp() {
			return false
		}
	}
	return true
}

// Assigned returns the number of partitions followed.
func (l *Lag) Assigned() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.parts)
}

func (l *Lag) observeRecords(_ context.Context, o metric.Int64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		if records, known := p.records(); known {
			o.Observe(records, p.options...)
		}
	}
	return nil
}

func (l *Lag) observeSeconds(_ context.Context, o metric.Float64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, p := range l.parts {
		if age, known := p.age(now); known {
			o.Observe(age.Seconds(), p.options...)
		}
	}
	return nil
}
