package deadletters

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

const (
	patience    = 2 * time.Minute // bounds a hang
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + traceID + "-b7ad6b7169203331-01"
)

// fixture is a broker with all topics, and a resolver for its letters.
type fixture struct {
	t         *testing.T
	source    Source
	cluster   kafka.Cluster
	publisher *kafka.Publisher
	telemetry *telemetrytest.Recorder
	resolver  Resolver
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Parallel() // most of a test's time is a broker's wait for records
	b, err := embedded.Start(t.Context(), embedded.Config{Address: "127.0.0.1:0", Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	f := &fixture{t: t, telemetry: telemetrytest.New(t, "vigie-dlq", nil)}
	f.cluster.Config = kafka.Config{Brokers: []string{b.Address()}, ClientID: "test", Patience: patience}
	if f.cluster.Client, err = kafka.Connect(t.Context(), f.cluster.Config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cluster.Client.Close() })
	if _, err := kafka.EnsureTopics(t.Context(), f.cluster.Client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	f.source = Source{Log: f.cluster, Topics: f.cluster.Client.Topics}
	if f.publisher, err = kafka.NewPublisher(t.Context(), f.cluster.Config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.publisher.Close() })
	inst, err := otelkafka.New(otelkafka.WithTelemetry(f.telemetry.Telemetry))
	if err != nil {
		t.Fatal(err)
	}
	f.resolver = Resolver{Source: f.source, Publisher: f.publisher, Instrument: inst}
	return f
}

// letter describes a dead letter for tests; setAside makes its record.
type letter struct {
	topic           string // "" is orders.dlq
	key, value      string
	originTopic     string // "" is orders.created
	originPartition string // "" is 0
	originOffset    string // "" is 7
	group, reason   string // "" are paiement-svc and authoriser
	attempts        string // "" is 3
	failedAt        time.Time
	headers         []record.Header
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func (l letter) message() record.Message {
	m := record.Message{Topic: or(l.topic, banking.TopicOrdersDLQ), Key: []byte(l.key), Value: []byte(l.value)}
	failedAt := l.failedAt
	if failedAt.IsZero() {
		failedAt = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	}
	for _, h := range [][2]string{
		{record.HeaderOriginalEventID, "event-" + l.key},
		{record.HeaderOriginalTopic, or(l.originTopic, banking.TopicOrdersCreated)},
		{record.HeaderOriginalPartition, or(l.originPartition, "0")},
		{record.HeaderOriginalOffset, or(l.originOffset, "7")},
		{record.HeaderConsumerGroup, or(l.group, banking.GroupPaiement)},
		{record.HeaderAttempts, or(l.attempts, "3")},
		{record.HeaderErrorClass, "transient"},
		{record.HeaderErrorReason, or(l.reason, string(delivery.ReasonAuthoriser))},
		{record.HeaderErrorMessage, "authoriser failed"},
		{record.HeaderFailedAt, failedAt.Format(time.RFC3339Nano)},
	} {
		m.Headers = append(m.Headers, header(h[0], h[1]))
	}
	m.Headers = append(m.Headers, l.headers...)
	return m
}

func header(key, value string) record.Header { return record.Header{Key: key, Value: []byte(value)} }

// put publishes messages and returns where they stand.
func (f *fixture) put(messages ...record.Message) []record.Place {
	f.t.Helper()
	var out []record.Place
	for _, m := range messages {
		pm := kafka.Outgoing(m)
		if err := f.publisher.Publish(f.t.Context(), pm); err != nil {
			f.t.Fatal(err)
		}
		out = append(out, record.At(pm.Topic, pm.Partition, pm.Offset))
	}
	return out
}

func (f *fixture) letters(letters ...letter) []record.Place {
	f.t.Helper()
	var messages []record.Message
	for _, l := range letters {
		messages = append(messages, l.message())
	}
	return f.put(messages...)
}

// hide has a stranger open a transaction in every partition of a topic. What it
// returns ends it.
func (f *fixture) hide(topic string) (show func()) {
	f.t.Helper()
	var junk []*sarama.ProducerMessage
	for id := range int32(banking.Partitions) {
		junk = append(junk, &sarama.ProducerMessage{Topic: topic, Partition: id, Value: sarama.StringEncoder("{}")})
	}
	tx := testkafka.Begin(f.t, f.cluster.Config, junk...)
	return func() {
		f.t.Helper()
		tx.Abort()
		if _, err := kafka.WholeBounds(f.t.Context(), f.cluster, func(error) error { return nil }, topic); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) list(filter Filter) Listing {
	f.t.Helper()
	l, err := f.source.List(f.t.Context(), filter, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// records reads a topic from its start, each partition in order.
func (f *fixture) records(topic string) []record.Record {
	f.t.Helper()
	spans, err := kafka.Bounds(f.t.Context(), f.cluster.Client, topic)
	if err != nil {
		f.t.Fatal(err)
	}
	var mu sync.Mutex
	var out []record.Record
	if err := kafka.Scan(f.t.Context(), f.cluster.Config, spans, func(r record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, r)
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	slices.SortStableFunc(out, func(a, b record.Record) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// replay replays letters and returns the errors by letter.
func (f *fixture) replay(ctx context.Context, resolver Resolver, letters []Letter) map[record.Place]error {
	f.t.Helper()
	outcomes := map[record.Place]error{}
	_ = resolver.Replay(ctx, letters, func(o Outcome) {
		if _, twice := outcomes[o.Letter.ID]; twice {
			f.t.Errorf("%s was reported twice", o.Letter.ID)
		}
		outcomes[o.Letter.ID] = o.Err
	})
	return outcomes
}

// failing is a publisher that refuses what refuse chooses.
type failing struct {
	delivery.BatchPublisher
	refuse func(*sarama.ProducerMessage) bool
}

func (p failing) PublishAll(ctx context.Context, records []*sarama.ProducerMessage) error {
	for _, m := range records {
		if p.refuse(m) {
			return kafka.ErrUnacknowledged
		}
	}
	return p.BatchPublisher.PublishAll(ctx, records)
}

func key(i int) string { return "order-" + strconv.Itoa(i) }

// counting is a publisher that remembers the largest batch.
type counting struct {
	delivery.BatchPublisher
	largest *atomic.Int64
}

func (p counting) PublishAll(ctx context.Context, records []*sarama.ProducerMessage) error {
	for n := int64(len(records)); ; {
		if known := p.largest.Load(); known >= n || p.largest.CompareAndSwap(known, n) {
			return p.BatchPublisher.PublishAll(ctx, records)
		}
	}
}
