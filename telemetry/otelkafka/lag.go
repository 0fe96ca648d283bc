package otelkafka

import (
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

// Bounds of the time that one step of a poll may take: the interval, within these.
const (
	minPollTimeout = time.Second
	maxPollTimeout = 10 * time.Second
)

// Lag follows what is left to process in the partitions assigned to this instance and feeds kafka_consumer_lag, in
// records, and kafka_consumer_lag_seconds. All methods are safe for concurrent use; a scrape reads memory only.
//
// Lag is the log's end less the next offset to process, whatever was fetched or committed, so that it grows while
// a handler is stuck or a partition is paused. It is never negative. It counts offsets, as Kafka's own tools do:
// where compaction took records out or transactions have their markers, it is an upper bound. It is exact where
// that matters most: offsets below the log's start are not left, nor are those before the first record that is,
// so that a consumer that has processed the last record has no lag, though a marker may follow it.
//
// Under read_committed (Consumer.IsolationLevel of the client), the end is the last stable offset: records of a
// transaction that is still open are not lag, and those of an aborted one are passed over.
//
// The age in seconds is that of the oldest record left, by the record's own timestamp where the record is in hand
// or was looked at, else the time since a poll first saw the log's end beyond it: 0 at least, and 0 with no record
// left.
//
// A poll costs each broker one ListOffsets request, a second one where records are left, and where it is not
// known of any record that it is there, as after a standstill of the consumer, one Fetch of at most 1 MiB that
// waits for nothing; that needs the topic's READ permission, as the consumer does. A broker that does not answer
// delays a poll by the interval, at least one second and at most ten; its partitions keep their last values, and it
// is not asked again before the client's network timeout.
type Lag struct {
	source   OffsetSource
	finder   RecordFinder // nil where the source is none
	settle   func()       // waits for requests that nobody waits for any more
	interval time.Duration
	timeout  time.Duration
	logger   *slog.Logger
	now      func() time.Time
	wake     chan struct{}
	gauges   []metric.Registration

	mu    sync.Mutex
	parts map[TopicPartition]*progress
}

// NewLag returns a tracker that asks the client's brokers every interval while [Lag.Run] runs. The client should
// have the consumer's version and isolation level, and had better not be the consumer's own, whose connections are
// busy; it stays the caller's to close, after Run.
func NewLag(inst *Instrumentation, client sarama.Client, interval time.Duration) (*Lag, error) {
	logs := &brokerLogs{client: client}
	l, err := NewLagFrom(inst, logs, interval)
	if err == nil {
		l.settle = logs.calls.all.Wait
	}
	return l, err
}

// NewLagFrom is [NewLag] with another source of offsets, which may be a [RecordFinder] too.
func NewLagFrom(inst *Instrumentation, source OffsetSource, interval time.Duration) (*Lag, error) {
	if interval <= 0 {
		return nil, fmt.Errorf("track lag: interval %v is not positive", interval)
	}
	l := &Lag{
		source: source, settle: func() {}, interval: interval, timeout: min(max(interval, minPollTimeout), maxPollTimeout),
		logger: inst.logger, now: time.Now, wake: make(chan struct{}, 1), parts: make(map[TopicPartition]*progress),
	}
	l.finder, _ = source.(RecordFinder)
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
//
// With eager rebalancing, Setup and Cleanup see every assignment and its end. With a cooperative strategy they run
// once for many: call Assign when ConsumeClaim begins and [Lag.Revoke] when it returns, which is right for both.
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

// Advance says that next is now the first offset not processed. nextRecordTime is the timestamp of the first record
// not processed if it is in hand, else zero; next may then be that record's own offset, so that offsets without a
// record before it do not count. A partition that is not assigned is ignored.
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
// its assignment, but for offsets that hold no record. It is false while one such end is not known yet, and true
// with nothing assigned: see [Lag.Assigned].
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
