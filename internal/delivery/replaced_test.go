package delivery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// onBroker has the fixture's loop read a broker's topic, of which partition 0
// has n records.
func (f *fixture) onBroker(t *testing.T, n int64) (kafka.Config, *kafka.Client) {
	t.Helper()
	cfg, client := testkafka.Embedded(t)
	fill(t, cfg, n)
	f.at(t, cfg, client)
	return cfg, client
}

// at has the fixture's loop read a broker's topic.
func (f *fixture) at(t *testing.T, cfg kafka.Config, client *kafka.Client) {
	t.Helper()
	ids, err := kafka.Identities(t.Context(), client, f.cfg.Topics)
	if err != nil {
		t.Fatal(err)
	}
	f.deps.Kafka, f.deps.Control, f.deps.Topics = cfg, client, kafka.NewIdentity(client, f.cfg.Topics, ids)
	rebalances, err := otelkafka.NewRebalances(f.deps.Instrument)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rebalances.Close() })
	f.deps.Rebalances = rebalances
}

// recreate replaces a topic by an empty one of the same name.
func recreate(t *testing.T, client *kafka.Client, topic string) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if _, err := kafka.EnsureTopics(t.Context(), client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
}

// A topic that is deleted and created again while a consumer runs ends the
// consumer: the records before its position would never be read.
func TestAReplacedTopicEndsTheConsumer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg, client := f.onBroker(t, 20)
	loop, err := NewLoop(t.Context(), f.cfg, f.deps, f.handler)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- loop.Run(ctx) }()
	await(t, func() bool { return f.position(t) == 20 })
	recreate(t, client, source)
	fill(t, cfg, 60)
	select {
	case err := <-ended:
		if !errors.Is(err, kafka.ErrReplaced) && !errors.Is(err, ErrLogMismatch) {
			t.Errorf("the consumer ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the consumer goes on")
	}
	cancel()
	if got := f.position(t); got != 20 {
		t.Errorf("the position is %d in another topic, want the 20 of the first", got)
	}
	if err := loop.Close(); err != nil {
		t.Error(err)
	}
}

// await bounds only a hang.
func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("it does not happen")
		}
	}
}

// Records that were received before anybody noticed are not stored.
func TestNothingOfAReplacedTopicIsStored(t *testing.T) {
	f := newFixture(t)
	_, client := f.onBroker(t, 3)
	if _, err := f.run(t, t.Context(), records("a x", "b x")); err != nil || f.position(t) != 2 {
		t.Fatalf("before, the position is %d: %v", f.position(t), err)
	}
	recreate(t, client, source)
	if _, err := f.run(t, t.Context(), records("a x", "b x", "c x")); !errors.Is(err, kafka.ErrReplaced) {
		t.Errorf("processing goes on: %v", err)
	}
	if got := f.position(t); got != 2 {
		t.Errorf("the position is %d", got)
	}
	if err := (&Loop[int, string]{deps: f.deps}).Setup(session{}); !errors.Is(err, kafka.ErrReplaced) {
		t.Errorf("an assignment is taken: %v", err)
	}
}

// Which topics a consumer began with stands beside its group's offsets: a storage that is
// lost takes its own stamp with it.
func TestAGroupsOffsetsSayWhichTopicsItBeganWith(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg, client := f.onBroker(t, 20)
	all := []string{source, target}
	began := func() kafka.Began {
		t.Helper()
		ids, err := kafka.Identities(t.Context(), client, all)
		if err != nil {
			t.Fatal(err)
		}
		f.deps.Topics = kafka.NewIdentity(client, all, ids)
		b, err := f.deps.Topics.Began(t.Context(), f.cfg.Group, source)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	replaced := func() []string { t.Helper(); return began().Others }
	consume := func(to int64) {
		t.Helper()
		loop, err := NewLoop(t.Context(), f.cfg, f.deps, f.handler)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- loop.Run(ctx) }()
		await(t, func() bool { return loop.CheckJoined(ctx) == nil && f.position(t) == to })
		cancel()
		if err := errors.Join(<-ended, loop.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if got := replaced(); got != nil {
		t.Errorf("before it has begun: %v", got)
	}
	consume(20)
	if got := replaced(); got != nil {
		t.Errorf("with the same topics: %v", got)
	}
	recreate(t, client, target)
	if got := replaced(); !slices.Equal(got, []string{target}) {
		t.Errorf("with another topic: %v, want %s", got, target)
	}
	consume(20) // an assignment alone says so
	if got := replaced(); got != nil {
		t.Errorf("once it has begun with the other: %v", got)
	}
	recreate(t, client, target)
	_ = replaced()
	f.deps.Topics.Say("the clerk", "knows more")
	fill(t, cfg, 1)
	consume(21)
	if got := replaced(); got != nil {
		t.Errorf("once it has read on with another: %v", got)
	}
	for _, want := range []map[record.Partition]int64{{{Topic: source}: 21, {Topic: source, ID: 1}: 0, {Topic: source, ID: 2}: 0}, {}} {
		// A reset leaves what was said, and nothing that anybody has come to.
		if b := began(); len(b.Said) == 0 || b.Said[0]["the clerk"] != "knows more" || !maps.Equal(b.Committed, want) {
			t.Errorf("the group says %+v, want offsets %v", b, want)
		}
		if err := kafka.Rewind(t.Context(), client, f.cfg.Group, source); err != nil {
			t.Fatal(err)
		}
	}
	if committed, err := kafka.Committed(client, f.cfg.Group, source); err != nil || committed[record.Partition{Topic: source}] != 0 {
		t.Errorf("the group is at %v (%v)", committed, err)
	}
}

type session struct{ sarama.ConsumerGroupSession }

func (session) Context() context.Context   { return context.Background() }
func (session) Claims() map[string][]int32 { return map[string][]int32{source: {0}} }
func (session) GenerationID() int32        { return 1 }
