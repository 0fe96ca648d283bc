package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/codes"
	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

const (
	source = banking.TopicOrdersCreated
	target = banking.TopicPaymentsAuthorized
	group  = "test-svc"
)

// traceparent is the context that records arrive with.
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// scripted is a handler that does what a record's value says, and remembers
// what was applied.
type scripted struct {
	mu      sync.Mutex
	tries   map[string]int
	applied []string
	during  func(record.Record) // called inside Handle
}

func (s *scripted) Load(context.Context, []record.Record) (int, error) { return 0, nil }

func (s *scripted) Handle(_ context.Context, _ int, r record.Record) (string, []record.Message, error) {
	s.mu.Lock()
	s.tries[string(r.Key)]++
	try := s.tries[string(r.Key)]
	s.mu.Unlock()
	if s.during != nil {
		s.during(r)
	}
	switch word, _, _ := strings.Cut(string(r.Value), " "); word {
	case "duplicate":
		return "", nil, ErrDuplicate
	case "reject":
		return "", nil, Reject(ReasonMalformed, errors.New("not what it promises"))
	case "transient":
		return "", nil, Transient(ReasonAuthoriser, errors.New("authoriser failed"))
	case "second-try":
		if try < 2 {
			return "", nil, Transient(ReasonAuthoriser, errors.New("authoriser failed"))
		}
	case "away":
		if try < 2 {
			return "", nil, errors.New("something is away")
		}
	}
	return string(r.Key), []record.Message{{
		Topic: target, Key: r.Key, Value: []byte("result of " + string(r.Key)),
		Headers: []record.Header{{Key: record.HeaderEventID, Value: []byte("result-" + string(r.Key))}},
	}}, nil
}

func (s *scripted) Store(ctx context.Context, tx *storage.Tx, decided []Decided[string]) error {
	for _, d := range decided {
		if _, err := tx.Exec(ctx, `INSERT INTO stamp (name, value) VALUES ($1, $2)`, "applied "+d.Change, "1"); err != nil {
			return err
		}
	}
	return nil
}

func (s *scripted) Stored(decided []Decided[string]) {
	for _, d := range decided {
		s.applied = append(s.applied, d.Change)
	}
}

// recordingPublisher keeps what was published; fail makes the next calls fail.
type recordingPublisher struct {
	mu        sync.Mutex
	fail      int
	failing   func() // called with each failure
	published []*sarama.ProducerMessage
}

func (p *recordingPublisher) PublishAll(_ context.Context, records []*sarama.ProducerMessage) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail > 0 {
		p.fail--
		if p.failing != nil {
			p.failing()
		}
		return kafka.ErrUnacknowledged
	}
	p.published = append(p.published, records...)
	return nil
}

// fixture is a loop without a broker: records come from a channel.
type fixture struct {
	telemetry *telemetrytest.Recorder
	store     *storage.Store
	reader    *storage.Reader // of the same
	publisher *recordingPublisher
	handler   *scripted
	cfg       LoopConfig
	deps      Deps
	partition record.Partition
}

// openStorage opens an empty storage, and a reader of it, until a test ends.
func openStorage(t *testing.T, ends interface {
	Fatal(args ...any)
	Cleanup(f func())
}) (*storage.Store, *storage.Reader) {
	url := "sqlite:" + t.TempDir()
	store, err := storage.Open(context.Background(), url, "test", nil)
	if err != nil {
		ends.Fatal(err)
	}
	ends.Cleanup(func() { _ = store.Close() })
	reader, err := storage.OpenReadOnly(context.Background(), url, "test")
	if err != nil {
		ends.Fatal(err)
	}
	ends.Cleanup(func() { _ = reader.Close() })
	return store, reader
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		telemetry: telemetrytest.New(t, "test", nil), publisher: &recordingPublisher{},
		handler: &scripted{tries: map[string]int{}}, partition: record.Partition{Topic: source, ID: 0},
	}
	f.store, f.reader = openStorage(t, t)
	inst, err := otelkafka.New(f.telemetry.Telemetry, otelkafka.Options{
		ConsumerGroup: group, Consumes: []string{source}, Produces: []string{target, banking.TopicOrdersDLQ},
	})
	if err != nil {
		t.Fatal(err)
	}
	failures, err := otelkafka.NewFailures(f.telemetry.Telemetry, []string{source}, Reasons())
	if err != nil {
		t.Fatal(err)
	}
	lag, err := otelkafka.NewLagFrom(inst, noOffsets{}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lag.Close() })
	f.cfg = LoopConfig{Group: group, Topics: []string{source}, DeadLetters: banking.DeadLetterTopic, Concurrency: 4, BatchSize: 100}
	f.deps = Deps{
		Publisher: f.publisher, Store: f.store, Instrument: inst, Failures: failures, Lag: lag, Log: f.telemetry.Logger(),
	}
	if err := f.store.StartAt(t.Context(), f.partition, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// noOffsets is a broker that knows no log ends.
type noOffsets struct{}

func (noOffsets) Offsets(context.Context, int64, []otelkafka.TopicPartition) (map[otelkafka.TopicPartition]int64, error) {
	return nil, nil
}

// records makes messages of "key value" texts, offsets from 0.
func records(texts ...string) []*sarama.ConsumerMessage {
	var out []*sarama.ConsumerMessage
	for i, text := range texts {
		key, value, _ := strings.Cut(text, " ")
		out = append(out, &sarama.ConsumerMessage{
			Topic: source, Partition: 0, Offset: int64(i), Key: []byte(key), Value: []byte(value), Timestamp: time.Now(),
			Headers: []*sarama.RecordHeader{
				{Key: []byte(record.HeaderEventID), Value: []byte("event-" + key)},
				{Key: []byte("traceparent"), Value: []byte(traceparent)},
			},
		})
	}
	return out
}

// run has a worker process messages from where storage stands, and returns
// the offsets that it marked.
func (f *fixture) run(t *testing.T, session context.Context, messages []*sarama.ConsumerMessage) (marks []int64, err error) {
	t.Helper()
	return work(session, f, f.handler, f.position(t), messages)
}

// work has a worker process messages from an offset on.
func work[State any](session context.Context, f *fixture, h Handler[State, string], next int64, messages []*sarama.ConsumerMessage) (marks []int64, err error) {
	queue := make(chan *sarama.ConsumerMessage, len(messages))
	for _, m := range messages {
		if m.Offset >= next {
			queue <- m
		}
	}
	close(queue)
	w := &worker[State, string]{
		loop: &Loop[State, string]{cfg: f.cfg, deps: f.deps, handler: h}, partition: f.partition, next: next, published: -1,
		commit: func(n int64) { marks = append(marks, n) },
	}
	err = w.run(session, queue)
	return marks, err
}

func (f *fixture) position(t *testing.T) int64 {
	t.Helper()
	next, _, err := f.store.Position(context.Background(), f.partition)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// pending is what waits in the outbox.
func (f *fixture) pending(t *testing.T) (messages []record.Message) {
	t.Helper()
	var batches []storage.Pending
	if err := f.reader.Snapshot(context.Background(), func(s *storage.Snapshot) (err error) {
		batches, err = s.Pending(context.Background())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		messages = append(messages, batch.Messages...)
	}
	return messages
}

func (f *fixture) waiting(t *testing.T) int { t.Helper(); return len(f.pending(t)) }

func producerHeader(m *sarama.ProducerMessage, name string) string {
	for _, h := range m.Headers {
		if string(h.Key) == name {
			return string(h.Value)
		}
	}
	return ""
}

func TestABatchIsStoredPublishedMarkedAndCounted(t *testing.T) {
	f := newFixture(t)
	marks, err := f.run(t, t.Context(), records("a ok", "b ok", "c ok"))
	if err != nil || fmt.Sprint(marks) != "[3]" {
		t.Errorf("run = %v, marks %v", err, marks)
	}
	if f.position(t) != 3 || f.waiting(t) != 0 || fmt.Sprint(f.handler.applied) != "[a b c]" {
		t.Errorf("position %d, outbox %d, applied %v", f.position(t), f.waiting(t), f.handler.applied)
	}
	if len(f.publisher.published) != 3 {
		t.Fatalf("%d messages published", len(f.publisher.published))
	}
	processed := map[string]bool{}
	for _, s := range f.telemetry.Spans() {
		if s.Name == "process "+source {
			processed[s.SpanContext.SpanID().String()] = true
			if s.Parent.SpanID().String() != "b7ad6b7169203331" || s.Status.Code == codes.Error {
				t.Errorf("process span with parent %s, status %v", s.Parent.SpanID(), s.Status)
			}
		}
	}
	for _, m := range f.publisher.published {
		parts := strings.Split(producerHeader(m, "traceparent"), "-")
		if len(parts) != 4 || parts[1] != "0af7651916cd43dd8448eb211c80319c" || !processed[parts[2]] {
			t.Errorf("outgoing context %v is not a process span's", parts)
		}
	}
	for _, name := range []string{"store " + source, "publish"} {
		if got := f.batches(name); got != "3 links: a b c" {
			t.Errorf("batches %q: %s", name, got)
		}
	}
	topic := map[string]string{"topic": source}
	if got := f.telemetry.Metric("kafka_messages_consumed_total", topic); got != 3 {
		t.Errorf("consumed %v", got)
	}
	if got := f.telemetry.Metric("kafka_message_processing_duration_seconds", topic); got != 3 {
		t.Errorf("measured %v durations", got)
	}
	if got := f.telemetry.Metric("kafka_messages_produced_total", map[string]string{"topic": target}); got != 3 {
		t.Errorf("produced %v", got)
	}
}

// What a failure leads to, class by class.
func TestFailureClasses(t *testing.T) {
	for name, tt := range map[string]struct {
		value                          string
		tries, published, deadLettered int
		failed, duplicates             float64
		reason                         string
		spanFails                      bool
		level                          string
	}{
		"duplicate":  {value: "duplicate", tries: 1, duplicates: 1, level: "DEBUG"},
		"reject":     {value: "reject", tries: 1, deadLettered: 1, failed: 1, reason: "malformed", spanFails: true, level: "WARN"},
		"transient":  {value: "transient", tries: 3, deadLettered: 1, failed: 1, reason: "authoriser", spanFails: true, level: "WARN"},
		"second try": {value: "second-try", tries: 2, published: 1, spanFails: true, level: "WARN"},
		"retry":      {value: "away", tries: 2, published: 1, spanFails: true, level: "WARN"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			marks, err := f.run(t, t.Context(), records("a "+tt.value, "b ok"))
			if err != nil || fmt.Sprint(marks) != "[2]" || f.position(t) != 2 || f.waiting(t) != 0 {
				t.Errorf("run = %v, marks %v, position %d, outbox %d", err, marks, f.position(t), f.waiting(t))
			}
			if f.handler.tries["a"] != tt.tries {
				t.Errorf("%d tries, want %d", f.handler.tries["a"], tt.tries)
			}
			var results, dead []*sarama.ProducerMessage
			for _, m := range f.publisher.published {
				switch {
				case m.Topic == banking.TopicOrdersDLQ:
					dead = append(dead, m)
				case keyOf(m) == "a":
					results = append(results, m)
				}
			}
			if len(results) != tt.published || len(dead) != tt.deadLettered {
				t.Errorf("%d results and %d dead letters", len(results), len(dead))
			}
			if got := f.telemetry.Metric("kafka_duplicates_total", map[string]string{"topic": source}); got != tt.duplicates {
				t.Errorf("duplicates %v", got)
			}
			if tt.reason != "" {
				labels := map[string]string{"topic": source, "reason": tt.reason}
				failed, set := f.telemetry.Metric("kafka_messages_failed_total", labels), f.telemetry.Metric("kafka_dead_letters_total", labels)
				if failed != tt.failed || set != tt.failed {
					t.Errorf("failed %v, dead letters %v", failed, set)
				}
				assertDeadLetter(t, dead[0], tt.reason, tt.tries)
			}
			f.assertSpans(t, tt.tries)
			f.assertSpanAndLog(t, tt.spanFails, tt.level)
		})
	}
}

func keyOf(m *sarama.ProducerMessage) string {
	key, _ := m.Key.Encode()
	return string(key)
}

func assertDeadLetter(t *testing.T, m *sarama.ProducerMessage, reason string, tries int) {
	t.Helper()
	for name, want := range map[string]string{
		record.HeaderEventID: "event-a", record.HeaderOriginalEventID: "event-a", record.HeaderOriginalTopic: source,
		record.HeaderOriginalPartition: "0", record.HeaderOriginalOffset: "0", record.HeaderConsumerGroup: group,
		record.HeaderAttempts: fmt.Sprint(tries), record.HeaderErrorReason: reason,
	} {
		if got := producerHeader(m, name); got != want {
			t.Errorf("dead letter's %s = %q, want %q", name, got, want)
		}
	}
	if producerHeader(m, record.HeaderErrorMessage) == "" || producerHeader(m, record.HeaderErrorClass) == "" || keyOf(m) != "a" {
		t.Errorf("dead letter %v", m.Headers)
	}
	if _, err := time.Parse(time.RFC3339Nano, producerHeader(m, record.HeaderFailedAt)); err != nil {
		t.Error(err)
	}
}

// assertSpans: each try has a span of its own, a child of the record's context.
func (f *fixture) assertSpans(t *testing.T, tries int) {
	t.Helper()
	n := 0
	for _, s := range f.telemetry.Spans() {
		if s.Name == "process "+source && s.Parent.SpanID().String() == "b7ad6b7169203331" {
			n++
		}
	}
	if n != tries+1 { // and one for record b
		t.Errorf("%d process spans for %d tries and one more record", n, tries)
	}
}

// assertSpanAndLog looks at what was said about record a.
func (f *fixture) assertSpanAndLog(t *testing.T, spanFails bool, level string) {
	t.Helper()
	failed := false
	for _, s := range f.telemetry.Spans() {
		if s.Name == "process "+source && s.Status.Code == codes.Error {
			failed = true
		}
	}
	if failed != spanFails {
		t.Errorf("a process span failed: %v, want %v", failed, spanFails)
	}
	for _, line := range f.telemetry.Logs() {
		if line["level"] == level && line["trace_id"] == "0af7651916cd43dd8448eb211c80319c" {
			return
		}
	}
	t.Errorf("no %s line with the record's trace in %v", level, f.telemetry.Logs())
}

func TestARecordThatBelongsToNoDeadLettersIsPassedOver(t *testing.T) {
	f := newFixture(t)
	f.cfg.DeadLetters = func(string) string { return "" }
	if _, err := f.run(t, t.Context(), records("a reject", "b ok")); err != nil || f.position(t) != 2 {
		t.Errorf("run = %v, position %d", err, f.position(t))
	}
	labels := map[string]string{"topic": source, "reason": "malformed"}
	if failed, set := f.telemetry.Metric("kafka_messages_failed_total", labels), f.telemetry.Metric("kafka_dead_letters_total", labels); failed != 1 || set != 0 {
		t.Errorf("failed %v, dead letters %v", failed, set)
	}
}

// Another owner has moved the partition on: nothing changes.
func TestAFencedWorkerChangesNothing(t *testing.T) {
	f := newFixture(t)
	f.handler.during = func(record.Record) {
		if err := f.store.Update(context.Background(), func(tx *storage.Tx) error {
			return tx.Advance(context.Background(), f.partition, 0, 7)
		}); err != nil {
			t.Error(err)
		}
	}
	marks, err := f.run(t, t.Context(), records("a ok"))
	if !errors.Is(err, storage.ErrFenced) || len(marks) != 0 {
		t.Errorf("run = %v, marks %v; want ErrFenced", err, marks)
	}
	if f.position(t) != 7 || f.waiting(t) != 0 || len(f.publisher.published) != 0 || len(f.handler.applied) != 0 {
		t.Errorf("position %d, outbox %d, published %d, applied %v", f.position(t), f.waiting(t), len(f.publisher.published), f.handler.applied)
	}
}

// Kafka is away when the batch should be published, and the session ends: the
// next owner publishes the same messages, once, before anything else.
func TestTheNextOwnerPublishesWhatWasLeft(t *testing.T) {
	f := newFixture(t)
	f.publisher.fail = 1 << 30
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	marks, err := f.run(t, session, records("a ok"))
	if err != nil || len(marks) != 0 {
		t.Errorf("run = %v, marks %v", err, marks)
	}
	if f.position(t) != 1 || f.waiting(t) != 1 {
		t.Fatalf("position %d, outbox %d; want the batch stored and waiting", f.position(t), f.waiting(t))
	}
	f.publisher.fail = 1 // one more failure, then Kafka is back
	f.handler.during = nil
	if _, err := f.run(t, t.Context(), records("a ok", "b ok")); err != nil {
		t.Fatal(err)
	}
	if f.waiting(t) != 0 || len(f.publisher.published) != 2 || producerHeader(f.publisher.published[0], record.HeaderEventID) != "result-a" {
		t.Errorf("outbox %d, published %d", f.waiting(t), len(f.publisher.published))
	}
	if f.handler.tries["a"] != 1 {
		t.Errorf("record a was handled %d times", f.handler.tries["a"])
	}
}

// A session that ends while a batch is being handled lets it finish.
func TestABatchUnderWayIsFinished(t *testing.T) {
	f := newFixture(t)
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	marks, err := f.run(t, session, records("a ok", "a ok")) // one key: two batches
	if err != nil || fmt.Sprint(marks) != "[1]" || f.position(t) != 1 || len(f.publisher.published) != 1 {
		t.Errorf("run = %v, marks %v, position %d, published %d", err, marks, f.position(t), len(f.publisher.published))
	}
}

// A session that ends while a record waits to be tried again leaves the batch
// as it was.
func TestAnEndedSessionLeavesAWaitingBatchUntouched(t *testing.T) {
	f := newFixture(t)
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	marks, err := f.run(t, session, records("a away"))
	if err != nil || len(marks) != 0 || f.position(t) != 0 || f.waiting(t) != 0 {
		t.Errorf("run = %v, marks %v, position %d, outbox %d", err, marks, f.position(t), f.waiting(t))
	}
}

func TestBatchesHoldEachKeyOnce(t *testing.T) {
	queue := make(chan *sarama.ConsumerMessage, 16)
	for _, m := range records("a 1", "b 2", "a 3", "a 4", "c 5", "d 6", "e 7") {
		queue <- m
	}
	close(queue)
	b := batcher{messages: queue, limit: 3}
	var got []string
	for batch := b.next(t.Context()); batch != nil; batch = b.next(t.Context()) {
		var keys []string
		for _, m := range batch {
			keys = append(keys, string(m.Key)+string(m.Value))
		}
		got = append(got, strings.Join(keys, ","))
	}
	if fmt.Sprint(got) != "[a1,b2 a3 a4,c5,d6 e7]" {
		t.Errorf("batches %v", got)
	}
}
