package otelkafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
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
// transaction that is still open are not lag, and those of an aborted one are skipped.
//
// The age in seconds is that of the oldest record left: the time since a poll first saw the log's end beyond it or,
// where the record is in progress or was looked at, what its own timestamp says, if that is more. A timestamp of the
// future, or none, hides nothing. It is 0 at least, and 0 with no record left.
//
// A poll costs each broker one ListOffsets request, a second one where records are left, and where it is not
// known of any record that it is there, as after a standstill of the consumer, one Fetch of at most 1 MiB that
// waits for nothing; that needs the topic's READ permission, as the consumer does. A broker that does not respond
// delays a poll by the interval, at least one second and at most ten; its partitions keep their last values, and it
// is not queried again before the client's network timeout.
//
// All trackers of one service have room for 1,500 partitions together. One that has a place keeps it until it is revoked;
// the first that waits then gets it. kafka_consumer_lag_omitted_partitions says how many wait.
type Lag struct {
	source   OffsetSource
	finder   RecordFinder // nil where the source is none
	settle   func()       // waits for requests that nobody waits for any more
	interval time.Duration
	timeout  time.Duration
	group    string // the label group; "" for none
	logger   *slog.Logger
	now      func() time.Time
	wake     chan struct{}
	gauges   []metric.Registration
	room     *catalogue.Room

	mu      sync.Mutex
	parts   map[TopicPartition]*progress
	waiting int // of parts, those without a place on the page
}

// DefaultLagInterval is how often a [Lag] had better ask for the ends of the logs: often enough for a scrape every few
// seconds, at one small request for each broker.
const DefaultLagInterval = time.Second

// NewLag returns a tracker that queries the client's brokers every interval while [Lag.Run] runs. The client should
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
		room: inst.instruments.Room(catalogue.KafkaConsumerLag),
	}
	l.finder, _ = source.(RecordFinder)
	records, err := inst.instruments.Int64ObservableGauge(catalogue.KafkaConsumerLag, l.observeRecords)
	if err != nil {
		return nil, fmt.Errorf("track lag: %w", err)
	}
	l.gauges = append(l.gauges, records)
	seconds, err := inst.instruments.Float64ObservableGauge(catalogue.KafkaConsumerLagSeconds, l.observeSeconds)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("track lag: %w", err), l.Close())
	}
	l.gauges = append(l.gauges, seconds)
	omitted, err := inst.instruments.Int64ObservableSum(catalogue.KafkaConsumerLagOmitted, l.observeOmitted)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("track lag: %w", err), l.Close())
	}
	l.gauges = append(l.gauges, omitted)
	return l, nil
}

// Close takes the gauges off the page. Stop Run first.
func (l *Lag) Close() error {
	var errs []error
	for _, g := range l.gauges {
		errs = append(errs, g.Unregister())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition := range l.parts {
		l.forget(partition)
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
	l.assign(topic, partition, next, nil)
}

// assign is Assign, for a partition that is followed by its marks; nil is none.
func (l *Lag) assign(topic string, partition int32, next int64, marks *position) {
	at := TopicPartition{topic, partition}
	set := []attribute.KeyValue{attribute.String("topic", topic), attribute.String("partition", strconv.Itoa(int(partition)))}
	if l.group != "" {
		set = append(set, attribute.String("group", l.group))
	}
	options := []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(set...))}
	l.mu.Lock()
	started := &progress{next: next, marks: marks, options: options} // a new one: what is on its way is of the assignment before
	if before := l.parts[at]; before != nil {
		started.placed = before.placed
	} else {
		l.waiting++
	}
	l.parts[at] = started
	l.place(at)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // a poll is due already
	}
}

// place has a partition on the page, if there is room.
func (l *Lag) place(at TopicPartition) {
	if p := l.parts[at]; !p.placed && l.room.Take(at.Topic, strconv.Itoa(int(at.Partition)), l.group) {
		p.placed = true
		l.waiting--
	}
}

// placeWaiting gives the places that others have left, whoever they were, to those that wait.
func (l *Lag) placeWaiting() {
	if l.waiting == 0 {
		return
	}
	all := slices.SortedFunc(maps.Keys(l.parts), func(a, b TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, at := range all {
		l.place(at)
	}
}

// forget ends what is known of a partition.
func (l *Lag) forget(at TopicPartition) {
	switch p := l.parts[at]; {
	case p == nil:
		return
	case p.placed:
		l.room.Leave(at.Topic, strconv.Itoa(int(at.Partition)), l.group)
	default:
		l.waiting--
	}
	delete(l.parts, at)
}

// Advance sets next, the first offset not processed. nextRecordTime is the timestamp of the first record
// not processed if it is in progress, else zero; next may then be that record's own offset, so that offsets without a
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
	l.forget(TopicPartition{topic, partition})
}

// CaughtUp reports whether every assigned partition has been processed up to the end that was seen first after
// its assignment, but for offsets that hold no record. It is false while one such end is not known yet, and true
// with nothing assigned: see [Lag.Assigned].
func (l *Lag) CaughtUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		if p.follow(); !p.caughtUp() {
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

// Run polls, at once, then every interval and after each assignment, until ctx ends. A poll that fails keeps
// what was known of the partitions that it concerns and is tried again at the next; the failure is logged when it
// starts and when it is over. Run returns when no request is under way any more, which the client's network
// timeouts bound.
func (l *Lag) Run(ctx context.Context) {
	defer l.settle()
	ticker := time.NewTicker(l.interval)
	defer ticker.Stop()
	failing := false
	for ctx.Err() == nil {
		err := l.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			l.logger.WarnContext(ctx, "log ends cannot be read: lag stands still", "error", err)
		case err == nil && failing:
			l.logger.InfoContext(ctx, "log ends can be read again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-l.wake:
		}
	}
}

// poll reads the ends of all logs, then, where records may be left, the starts and the first record.
// Each step takes at most the timeout and uses what the one before has brought.
func (l *Lag) poll(ctx context.Context) error {
	return errors.Join(l.pollEnds(ctx), l.pollStarts(ctx), l.pollFirst(ctx))
}

func (l *Lag) pollEnds(ctx context.Context) error {
	return l.pollOffsets(ctx, sarama.OffsetNewest,
		func(*progress) bool { return true },
		func(p *progress, end int64) { p.setEnd(end, l.now()) })
}

// pollStarts leaves out what is processed to its end: no deletion changes its lag.
func (l *Lag) pollStarts(ctx context.Context) error {
	return l.pollOffsets(ctx, sarama.OffsetOldest,
		func(p *progress) bool { return p.next == sarama.OffsetOldest || p.open() },
		(*progress).setStart)
}

func (l *Lag) pollOffsets(ctx context.Context, at int64, which func(*progress) bool, take func(*progress, int64)) error {
	picked := l.pick(which)
	if len(picked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	offsets, err := l.source.Offsets(ctx, at, keys(picked))
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, offset := range offsets {
		if p := picked[partition]; p != nil && offset >= 0 {
			p.follow()
			take(p, offset)
		}
	}
	return err
}

// pollFirst looks into the logs where something is left that may be no record.
func (l *Lag) pollFirst(ctx context.Context) error {
	picked := l.pick((*progress).unseen)
	if l.finder == nil || len(picked) == 0 {
		return nil
	}
	from := make(map[TopicPartition]int64, len(picked))
	l.mu.Lock()
	for partition, p := range picked {
		from[partition] = p.position()
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	found, err := l.finder.FirstRecords(ctx, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	for partition, first := range found {
		if p := picked[partition]; p != nil {
			p.follow()
			p.setFirst(from[partition], first)
		}
	}
	return err
}

// pick returns the assigned partitions of a kind. The lock is free while the brokers are queried about them;
// what is said of one that was revoked or assigned again meanwhile goes to a progress that nobody reads any more.
func (l *Lag) pick(which func(*progress) bool) map[TopicPartition]*progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	picked := make(map[TopicPartition]*progress)
	for partition, p := range l.parts {
		if p.follow(); which(p) {
			picked[partition] = p
		}
	}
	return picked
}

func keys(parts map[TopicPartition]*progress) []TopicPartition {
	list := make([]TopicPartition, 0, len(parts))
	for partition := range parts {
		list = append(list, partition)
	}
	return list
}

func (l *Lag) observeRecords(_ context.Context, o metric.Int64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.placeWaiting()
	for _, p := range l.parts {
		p.follow()
		if records, known := p.records(); known && p.placed {
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
		p.follow()
		if age, known := p.age(now); known && p.placed {
			o.Observe(age.Seconds(), p.options...)
		}
	}
	return nil
}

func (l *Lag) observeOmitted(_ context.Context, o metric.Int64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.Observe(int64(l.waiting))
	return nil
}
