package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// TestTheLoopAgreesWithItsModel runs random histories of records, republished
// and contradictory ones, crashes at every step, Kafka being away, zombies and
// replays, and checks what the loop did against a fold over the log that knows
// none of these. rapid shrinks a history that fails to the shortest one.
func TestTheLoopAgreesWithItsModel(t *testing.T) {
	t.Parallel() // the disk is waited for, mostly
	f := newFixture(t)
	f.deps.Log = slog.New(slog.DiscardHandler)
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t, rt, f)
		rt.Repeat(map[string]func(*rapid.T){
			"order":      m.order,
			"again":      m.again,
			"contradict": m.contradict,
			"replay":     m.replay,
			"run":        m.run,
			"crash":      m.crash,
			"away":       m.away,
			"zombie":     m.zombie,
			"":           m.agree,
		})
		m.run(rt) // at last everything works
		m.agree(rt)
		if got := m.f.position(t); got != int64(len(m.log)) {
			rt.Fatalf("position %d after a run without faults, log has %d", got, len(m.log))
		}
		if got, want := m.published(), effects(m.log); !maps.Equal(got, want) {
			rt.Fatalf("published %v, want %v", got, want)
		}
	})
}

// effects is the model: what a log leads to, by name. It is a fold: each order
// is decided by the first record that can decide it.
func effects(log []*sarama.ConsumerMessage) map[string]bool {
	out, decided := map[string]bool{}, map[string]string{}
	for _, r := range log {
		key, event := string(r.Key), string(r.Headers[0].Value)
		switch by, known := decided[key]; {
		case known && by == event: // a duplicate
		case known, string(r.Value) == "reject":
			out[fmt.Sprintf("dead letter of %d", r.Offset)] = true
		default:
			decided[key] = event
			out[fmt.Sprintf("%s decided by %s", key, event)] = true
		}
	}
	return out
}

// machine is a loop and the log that it reads.
type machine struct {
	t   *testing.T
	f   *fixture
	log []*sarama.ConsumerMessage
}

// newMachine gives the fixture a storage and a Kafka of its own.
func newMachine(t *testing.T, rt *rapid.T, shared *fixture) *machine {
	f := *shared
	f.store, f.reader = openStorage(t, rt)
	f.publisher = &recordingPublisher{}
	f.deps.Store, f.deps.Publisher = f.store, f.publisher
	if err := f.store.StartAt(context.Background(), f.partition, 0); err != nil {
		rt.Fatal(err)
	}
	return &machine{t: t, f: &f}
}

// work has an owner process the log from an offset on.
func (m *machine) work(session context.Context, next int64) ([]int64, error) {
	return work(session, m.f, &ledgerHandler{m.f.store}, next, m.log)
}

func (m *machine) append(key, event, value string) {
	m.log = append(m.log, &sarama.ConsumerMessage{
		Topic: source, Offset: int64(len(m.log)), Key: []byte(key), Value: []byte(value), Timestamp: time.Now(),
		Headers: []*sarama.RecordHeader{{Key: []byte(record.HeaderEventID), Value: []byte(event)}},
	})
}

func (m *machine) pick(rt *rapid.T) *sarama.ConsumerMessage {
	if len(m.log) == 0 {
		rt.Skip("the log is empty")
	}
	return rapid.SampledFrom(m.log).Draw(rt, "record")
}

func (m *machine) order(rt *rapid.T) {
	n := len(m.log)
	m.append(fmt.Sprintf("order-%d", n), fmt.Sprintf("event-%d", n), rapid.SampledFrom([]string{"ok", "ok", "reject"}).Draw(rt, "value"))
}

func (m *machine) again(rt *rapid.T) {
	r := m.pick(rt)
	m.append(string(r.Key), string(r.Headers[0].Value), string(r.Value))
}

func (m *machine) contradict(rt *rapid.T) {
	m.append(string(m.pick(rt).Key), fmt.Sprintf("other-event-%d", len(m.log)), "ok")
}

// replay sends a record again when what failed it has been fixed.
func (m *machine) replay(rt *rapid.T) {
	r := m.pick(rt)
	m.append(string(r.Key), string(r.Headers[0].Value), "ok")
}

// run has a new owner process all that is there.
func (m *machine) run(rt *rapid.T) {
	if _, err := m.work(context.Background(), m.f.position(m.t)); err != nil {
		rt.Fatal(err)
	}
}

// crash has a new owner die at a step.
func (m *machine) crash(rt *rapid.T) {
	step := rapid.SampledFrom([]fault.Step{fault.BeforeStore, fault.AfterStore, fault.AfterPublish, fault.BeforeCommit, fault.AfterMark}).Draw(rt, "step")
	died := errors.New("died")
	var err error
	if m.f.deps.Fault, err = fault.Parse(fmt.Sprintf("%s#%d", step, rapid.Int64Range(1, 3).Draw(rt, "times")), func() { panic(died) }); err != nil {
		rt.Fatal(err)
	}
	defer func() {
		m.f.deps.Fault = nil
		if r := recover(); r != nil {
			if err, ok := r.(error); !ok || !errors.Is(err, died) {
				panic(r)
			}
		}
	}()
	m.run(rt)
}

// away has a new owner lose Kafka while it publishes, and then its session.
func (m *machine) away(rt *rapid.T) {
	session, end := context.WithCancel(context.Background())
	defer end()
	m.f.publisher.fail = 1 << 30
	m.f.publisher.failing = end
	defer func() { m.f.publisher.fail, m.f.publisher.failing = 0, nil }()
	if _, err := m.work(session, m.f.position(m.t)); err != nil {
		rt.Fatal(err)
	}
}

// zombie has an owner of long ago wake up: it must change nothing.
func (m *machine) zombie(rt *rapid.T) {
	position := m.f.position(m.t)
	if position == 0 {
		rt.Skip("nobody has gone on")
	}
	next := rapid.Int64Range(0, position-1).Draw(rt, "stale")
	if waiting := m.f.waiting(m.t); waiting > 0 {
		rt.Skip("its leftovers are anybody's to publish")
	}
	published := len(m.f.publisher.published)
	if marks, err := m.work(context.Background(), next); !errors.Is(err, storage.ErrFenced) || len(marks) > 0 {
		rt.Fatalf("a zombie at %d of %d: %v, marks %v; want ErrFenced", next, position, err, marks)
	}
	if m.f.position(m.t) != position || len(m.f.publisher.published) != published {
		rt.Fatal("a zombie changed something")
	}
}

// agree checks what has happened so far against the model.
func (m *machine) agree(rt *rapid.T) {
	want := effects(m.log[:m.f.position(m.t)])
	got := m.published()
	for name := range got {
		if !want[name] {
			rt.Fatalf("%q was published; processed so far: %v", name, slices.Sorted(maps.Keys(want)))
		}
	}
	for _, message := range m.f.pending(m.t) {
		got[effectOf(kafka.Outgoing(message))] = true
	}
	if !maps.Equal(got, want) {
		rt.Fatalf("published or waiting %v, want %v", got, want)
	}
}

// published names what has reached Kafka; what was sent twice counts once.
func (m *machine) published() map[string]bool {
	out := map[string]bool{}
	for _, r := range m.f.publisher.published {
		out[effectOf(r)] = true
	}
	return out
}

func effectOf(m *sarama.ProducerMessage) string {
	if m.Topic == banking.TopicOrdersDLQ {
		return "dead letter of " + producerHeader(m, record.HeaderOriginalOffset)
	}
	return keyOf(m) + " decided by " + producerHeader(m, record.HeaderEventID)
}

// ledgerHandler decides each key once, with its ledger in the storage.
type ledgerHandler struct{ store *storage.Store }

func (h *ledgerHandler) Load(ctx context.Context, batch []record.Record) (map[string]string, error) {
	known := map[string]string{}
	for _, r := range batch {
		var event string
		err := h.store.QueryRow(ctx, `SELECT value FROM stamp WHERE name = $1`, string(r.Key)).Scan(&event)
		if err == nil {
			known[string(r.Key)] = event
		} else if !storage.IsNotFound(err) {
			return nil, err
		}
	}
	return known, nil
}

func (h *ledgerHandler) Handle(_ context.Context, known map[string]string, r record.Record) (string, []record.Message, error) {
	event := r.Header(record.HeaderEventID)
	switch by, ok := known[string(r.Key)]; {
	case ok && by == event:
		return "", nil, ErrDuplicate
	case ok:
		return "", nil, Reject(ReasonContradictory, errors.New("decided by another event"))
	case string(r.Value) == "reject":
		return "", nil, Reject(ReasonMalformed, errors.New("rejected"))
	}
	return string(r.Key) + " " + event, []record.Message{{
		Topic: target, Key: r.Key, Headers: []record.Header{{Key: record.HeaderEventID, Value: []byte(event)}},
	}}, nil
}

func (h *ledgerHandler) Store(ctx context.Context, tx *storage.Tx, decided []Decided[string]) error {
	for _, d := range decided {
		key, event, _ := strings.Cut(d.Change, " ")
		if _, err := tx.Exec(ctx, `INSERT INTO stamp (name, value) VALUES ($1, $2)`, key, event); err != nil {
			return err
		}
	}
	return nil
}

func (h *ledgerHandler) Stored([]Decided[string]) {}
