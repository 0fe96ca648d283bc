package groups_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/kafka"
	_ "github.com/vigie-dev/vigie/internal/testenv/golden" // the flag -update
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// reel is a group that reads one partition, while it is filmed: what brokers answer is recorded
// every ten seconds of a clock of its own, which goes faster than theirs. With -update it becomes a file
// of the corpus of verdicts.
type reel struct {
	t        *testing.T
	place    verdicts.Place
	open     func(...kgo.Opt) *kgo.Client
	admin    *kgo.Client
	watched  *groups.Collector // by the reel's clock
	awaiting *groups.Collector // by the true one
	now      time.Time

	member      *kgo.Client
	writes      int   // records before each look
	reads       bool  // it commits before each look, at most that many:
	most        int64 // 0 for all
	end, commit int64
	topics      map[string]string // their ids, as the file has them

	samples []verdicts.Sample
	states  []verdicts.State
}

// scene is what happens to a group, and the states that it goes through.
type scene struct {
	name, about string
	play        func(*reel)
	states      []verdicts.State
}

// between is the time between two looks.
const between = 10 * time.Second

func scenes() []scene {
	const (
		ok, idle, unknown, stalled, abandoned = verdicts.OK, verdicts.Idle, verdicts.Unknown, verdicts.Stalled, verdicts.Abandoned
		behind, catching, losing, blocked     = verdicts.FallingBehind, verdicts.CatchingUp, verdicts.Losing, verdicts.Blocked
		rewound                               = verdicts.Rewound
	)
	return []scene{
		{"hangs-leaves-returns", "A member hangs, leaves after two minutes, and another takes over after one and a half; then nothing is written.", func(r *reel) {
			r.join()
			r.look(4)
			r.reads = false
			r.look(13)
			r.leave()
			r.look(9)
			r.join()
			r.look(5)
			r.writes = 0
			r.look(8)
		}, []verdicts.State{unknown, ok, behind, stalled, behind, abandoned, ok, idle}},
		{"slow-then-fast", "A member reads half of what comes, and then half as much again.", func(r *reel) {
			r.join()
			r.look(3)
			r.most = 10
			r.look(30)
			r.most = 30
			r.look(36)
		}, []verdicts.State{unknown, ok, behind, catching, ok}},
		{"transaction", "A transaction is open for a minute and a half while others write behind it.", func(r *reel) {
			r.join()
			r.look(4)
			commit := r.transaction()
			r.look(9)
			commit()
			r.look(5)
		}, []verdicts.State{unknown, ok, blocked, ok}},
		{"deleted-unread", "Records are deleted that a member has not read, which hangs, and then goes on.", func(r *reel) {
			r.join()
			r.look(4)
			r.reads = false
			r.look(2)
			r.deleteTo(r.end - 5)
			r.look(4)
			r.reads = true
			r.look(5)
		}, []verdicts.State{unknown, ok, losing, ok}},
		{"set-back", "The group is stopped, its offset set back by 300, and a member reads all again.", func(r *reel) {
			r.join()
			r.look(20)
			r.leave()
			r.commitAlone(r.commit - 300)
			r.most = 60
			r.join()
			r.look(14)
		}, []verdicts.State{unknown, ok, rewound, catching, ok}},
		{"made-again", "The topic is deleted, with the commit, and made again under a member that hangs.", func(r *reel) {
			r.join()
			r.look(4)
			r.reads = false
			r.makeAgain()
			r.look(12)
		}, []verdicts.State{unknown, ok, unknown, stalled}},
		{"never-commits", "A member reads and never commits.", func(r *reel) {
			r.join()
			r.reads = false
			r.look(13)
		}, []verdicts.State{unknown, stalled}},
	}
}

// film plays a scene and compares the states that were seen with those that are expected.
func (s scene) film(t *testing.T, ground, source string, brokers []string) {
	t.Helper()
	r := &reel{
		t: t, place: verdicts.Place{Group: "group-" + s.name, Topic: "topic-" + s.name}, now: time.Now().Truncate(time.Second),
		writes: 20, topics: map[string]string{}, open: func(options ...kgo.Opt) *kgo.Client {
			client, err := kgo.NewClient(append(options, kgo.SeedBrokers(brokers...), kgo.DisableClientMetrics())...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			return client
		},
	}
	r.admin = r.open(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for into, clock := range map[**groups.Collector]func() time.Time{&r.watched: func() time.Time { return r.now }, &r.awaiting: nil} {
		collector, err := groups.New(groups.Config{Kafka: kafka.Config{Brokers: brokers, ClientID: "test"}, Timeout: time.Minute, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(collector.Close)
		*into = collector
	}
	r.make()
	s.play(r)
	if diff := cmp.Diff(s.states, r.states); diff != "" {
		t.Errorf("-expected +seen:\n%s", diff)
	}
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		r.save(ground+"-"+s.name, s.about, source)
	}
}

// look looks n times, as time goes by.
func (r *reel) look(n int) {
	r.t.Helper()
	for range n {
		r.now = r.now.Add(between)
		r.write()
		if r.reads {
			to := r.end
			if r.most > 0 {
				to = min(to, r.commit+r.most)
			}
			if to > r.commit {
				r.commitAs(to)
			}
		}
		round := r.watched.Look(r.t.Context())
		sample, known := r.watched.Sampled(r.place)
		if !known {
			continue // nobody reads the topic yet
		}
		topic := *sample.Topic
		if r.topics[topic.ID] == "" {
			r.topics[topic.ID] = "t-" + strconv.Itoa(len(r.topics)+1)
		}
		topic.ID = r.topics[topic.ID]
		sample.Topic = &topic
		r.samples = append(r.samples, sample)
		g := round.Group(r.place.Group)
		if g == nil {
			r.t.Fatalf("the group is not seen: %s", describe(round))
		}
		if m := len(r.states); m == 0 || r.states[m-1] != g.Verdict.State {
			r.states = append(r.states, g.Verdict.State)
		}
	}
}

// write writes records of the time that it is.
func (r *reel) write() {
	r.t.Helper()
	batch := make([]*kgo.Record, r.writes)
	for i := range batch {
		batch[i] = &kgo.Record{Topic: r.place.Topic, Value: []byte("record"), Timestamp: r.now}
	}
	if err := r.admin.ProduceSync(r.t.Context(), batch...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	if len(batch) > 0 {
		r.end = batch[len(batch)-1].Offset + 1
	}
}

// await waits until brokers say something, by a clock that the reel does not see.
func (r *reel) await(what string, enough func(*groups.Round) bool) {
	r.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		round := r.awaiting.Look(r.t.Context())
		if enough(round) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s was never seen; at last:\n%s", what, describe(round))
		}
		select {
		case <-r.t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// join has a member read the topic and commit, from where the group is.
func (r *reel) join() {
	r.t.Helper()
	r.member = r.open(kgo.ConsumerGroup(r.place.Group), kgo.ConsumeTopics(r.place.Topic), kgo.ClientID("member"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	r.reads = true
	r.await("a member", func(round *groups.Round) bool { return owned(round, r.place.Group) == 1 })
}

// leave has the member leave.
func (r *reel) leave() {
	r.t.Helper()
	r.member.Close()
	r.member, r.reads = nil, false
	r.await("a group without members", func(round *groups.Round) bool {
		g := round.Group(r.place.Group)
		return g != nil && g.MembersKnown && len(g.Members) == 0
	})
}

// commitAs commits as the member.
func (r *reel) commitAs(offset int64) {
	r.t.Helper()
	var failed error
	at := map[string]map[int32]kgo.EpochOffset{r.place.Topic: {0: {Epoch: -1, Offset: offset}}}
	r.member.CommitOffsetsSync(r.t.Context(), at, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if failed = err; failed == nil {
			failed = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
		}
	})
	if failed != nil {
		r.t.Fatal(failed)
	}
	r.commit = offset
}

// commitAlone commits for the group, which has no members.
func (r *reel) commitAlone(offset int64) {
	r.t.Helper()
	commitAlone(r.t, r.admin, r.place.Group, r.place.Topic, r.topicID(), 0, offset)
	r.commit = offset
}

func (r *reel) topicID() (id [16]byte) {
	r.await("the topic", func(round *groups.Round) bool {
		t := round.Topic(r.place.Topic)
		if t != nil {
			id = t.ID
		}
		return t != nil
	})
	return id
}

// transaction begins one, and returns what commits it.
func (r *reel) transaction() (commit func()) {
	r.t.Helper()
	client := r.open(kgo.TransactionalID("tx-"+r.place.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.BeginTransaction(); err != nil {
		r.t.Fatal(err)
	}
	if err := client.ProduceSync(r.t.Context(), &kgo.Record{Topic: r.place.Topic, Value: []byte("open"), Timestamp: r.now}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	r.reads = false // there is nothing to read
	return func() {
		if err := client.EndTransaction(r.t.Context(), kgo.TryCommit); err != nil {
			r.t.Fatal(err)
		}
		r.await("the transaction's end", func(round *groups.Round) bool {
			p := round.Topic(r.place.Topic).Partitions[0]
			return p.Stable == p.End
		})
		r.reads = true
	}
}

// deleteTo deletes the records before an offset.
func (r *reel) deleteTo(offset int64) {
	r.t.Helper()
	request := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = r.place.Topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = offset
	topic.Partitions = append(topic.Partitions, p)
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(r.t.Context(), r.admin)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// make makes the topic.
func (r *reel) make() {
	r.t.Helper()
	for {
		request := kmsg.NewPtrCreateTopicsRequest()
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = r.place.Topic, 1, -1
		request.Topics = append(request.Topics, topic)
		answer, err := request.RequestWith(r.t.Context(), r.admin)
		if err != nil {
			r.t.Fatal(err)
		}
		switch err := kerr.ErrorForCode(answer.Topics[0].ErrorCode); {
		case err == nil:
			r.await("the topic", func(round *groups.Round) bool {
				t := round.Topic(r.place.Topic)
				return t != nil && t.Partitions[0].Why == ""
			})
			return
		case !slices.Contains([]error{kerr.TopicAlreadyExists}, err): // brokers finish with the name a moment later
			r.t.Fatal(err)
		}
	}
}

// makeAgain deletes the topic and makes another of its name.
func (r *reel) makeAgain() {
	r.t.Helper()
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TopicNames = []string{r.place.Topic}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &r.place.Topic
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(r.t.Context(), r.admin)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].ErrorCode)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.await("a topic that is gone", func(round *groups.Round) bool { return round.Topic(r.place.Topic) == nil })
	r.admin.PurgeTopicsFromClient(r.place.Topic)
	r.end = 0
	r.make()
}

// save writes the file, with times from noon on.
func (r *reel) save(name, about, source string) {
	r.t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	head := map[string]any{
		"group": r.place.Group, "topic": r.place.Topic, "partition": r.place.Partition, "about": about, "source": source, "expect": r.states,
	}
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).Sub(r.samples[0].At)
	errs := []error{encoder.Encode(head)}
	for _, sample := range r.samples {
		sample.At = sample.At.Add(noon).UTC()
		errs = append(errs, encoder.Encode(&sample))
	}
	errs = append(errs, os.WriteFile(repo.Path(r.t, "internal/verdicts/testdata/corpus", name+".jsonl"), text.Bytes(), 0o644))
	for _, err := range errs {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// What kfake answers comes to the states that are expected, as a real Kafka's answers do.
func TestRecordedOnKfake(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) { s.film(t, "kfake", "recorded on kfake by internal/groups", cluster.ListenAddrs()) })
	}
}
