package delivery

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/checks"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	checks.Set("25", "100")
	kafka.BoundDecompression()
	leaks.Main(m)
}

const (
	source = banking.TopicOrdersCreated
	target = banking.TopicPaymentsAuthorized
	group  = "test-svc"
)

// traceparent is the context that records arrive with.
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// scripted is a handler that does what a record's value says, and remembers
// what was stored.
type scripted struct {
	mu     sync.Mutex
	tries  map[string]int
	stored []string
	during func(record.Record) // called inside Handle
	// refused has the key whose change storage refuses, and why.
	refused string
	refusal error
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
	case "another":
		earlier := record.Record{Place: record.At(banking.TopicPaymentsRejected, 1, 5), Key: r.Key, Value: []byte("earlier")}
		return string(r.Key), []record.Message{Letter(banking.TopicPaymentsDLQ, group, earlier, Reject(ReasonContradictory, errors.New("says otherwise")))}, nil
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
		if d.Change == s.refused {
			return s.refusal
		}
		if _, err := tx.Exec(ctx, `INSERT INTO stamp (name, value) VALUES ($1, $2)`, "stored "+d.Change, "1"); err != nil {
			return err
		}
	}
	return nil
}

func (s *scripted) Stored(decided []Decided[string]) {
	for _, d := range decided {
		s.stored = append(s.stored, d.Change)
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
	inst, err := otelkafka.New(otelkafka.WithTelemetry(f.telemetry.Telemetry), otelkafka.Options{
		ConsumerGroup: group, Consumes: []string{source}, Produces: []string{target, banking.TopicOrdersDLQ},
	})
	if err != nil {
		t.Fatal(err)
	}
	failures, err := otelkafka.NewFailures(inst, []string{source, banking.TopicPaymentsRejected}, Reasons())
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
		loop: &Loop[State, string]{cfg: f.cfg, deps: f.deps, handler: h}, partition: f.partition, grace: time.Minute, next: next, published: -1,
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

func keyOf(m *sarama.ProducerMessage) string {
	key, _ := m.Key.Encode()
	return string(key)
}
