//go:build integration

package groups_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/kafka"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// kafkaWorld is three nodes of Apache Kafka, watched.
type kafkaWorld struct {
	t       *testing.T
	cluster *testkafka.Cluster
	client  *kgo.Client
	watched *groups.Collector
	admin   sarama.ClusterAdmin // what is compared with
	asked   sarama.Client
}

func openKafka(t *testing.T) *kafkaWorld {
	t.Helper()
	testkafka.Require(t)
	cluster, err := testkafka.NewCluster(t.Context(), filepath.Join(t.TempDir(), "kafka"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cluster.Kill()
		if t.Failed() {
			t.Log(cluster.LogTail())
		}
	})
	brokers := strings.Split(cluster.Address(), ",")
	w := &kafkaWorld{t: t, cluster: cluster}
	w.client = w.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.watched, err = groups.New(groups.Config{Kafka: kafka.Config{Brokers: brokers, ClientID: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.watched.Close)
	sc := sarama.NewConfig()
	sc.Consumer.IsolationLevel = sarama.ReadCommitted
	if w.asked, err = sarama.NewClient(brokers, sc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.asked.Close() })
	if w.admin, err = sarama.NewClusterAdminFromClient(w.asked); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *kafkaWorld) newClient(options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(strings.Split(w.cluster.Address(), ",")...), kgo.DisableClientMetrics())...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

func (w *kafkaWorld) create(topic string) {
	w.t.Helper()
	err := w.admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 3}, false)
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *kafkaWorld) produce(topic string, each int) {
	w.t.Helper()
	for p := range int32(3) {
		for range each {
			r := &kgo.Record{Topic: topic, Partition: p, Key: []byte("key"), Value: []byte("value")}
			if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// member is a reader of a topic, which commits what it has polled while it works.
type member struct {
	client *kgo.Client
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (w *kafkaWorld) join(group, topic string, most int, options ...kgo.Opt) *member {
	w.t.Helper()
	m := &member{client: w.newClient(append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ClientID("member"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(w.t.Context())
	m.done.Go(func() {
		for left := most; ctx.Err() == nil; {
			fetched := m.client.PollRecords(ctx, max(1, left)).Records()
			if left > 0 && len(fetched) > 0 {
				left -= len(fetched)
				_ = m.client.CommitRecords(ctx, fetched...)
			}
		}
	})
	w.t.Cleanup(m.stop)
	return m
}

func (m *member) stop() { m.cancel(); m.done.Wait() }

func (w *kafkaWorld) await(what string, enough func(*groups.Round) bool) *groups.Round {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	for {
		r := w.watched.Look(ctx)
		if ctx.Err() != nil {
			w.t.Fatalf("%s was never seen; at last:\n%s", what, describe(w.watched.Latest()))
		}
		if enough(r) {
			return r
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lagOf is a group's lag in a topic, -1 where one partition's is unknown or missing.
func lagOf(r *groups.Round, group, topic string) (sum int64) {
	g := r.Group(group)
	if g == nil {
		return -1
	}
	n := 0
	for _, one := range g.Readings {
		if one.Topic != topic {
			continue
		}
		lag, known := one.Lag.Get()
		if !known {
			return -1
		}
		n, sum = n+1, sum+lag
	}
	if n == 0 {
		return -1
	}
	return sum
}

// sameAsTheAdmin compares what a round saw of the topic orders with what the admin API says.
func (w *kafkaWorld) sameAsTheAdmin(r *groups.Round, group string) {
	const topic = "orders"
	w.t.Helper()
	commits, err := w.admin.ListConsumerGroupOffsets(group, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	compared := 0
	for partition, block := range commits.Blocks[topic] {
		end := w.endByTheAdmin(topic, partition)
		one := readingOf(w.t, r, group, topic, partition)
		if want := end - block.Offset; one.Lag != number(want) || one.Committed != number(block.Offset) {
			w.t.Errorf("%s in %s/%d: committed %v, lag %v; the admin API says %d and %d", group, topic, partition, one.Committed, one.Lag, block.Offset, want)
		}
		compared++
	}
	if compared == 0 {
		w.t.Errorf("the admin API knows no commit of %s", group)
	}
}

// endByTheAdmin asks until the broker answers that leads: the client may know an
// earlier one, which answers with an error.
func (w *kafkaWorld) endByTheAdmin(topic string, partition int32) int64 {
	w.t.Helper()
	newest := map[string]map[int32]int64{topic: {partition: sarama.OffsetNewest}}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	for {
		ends, err := w.admin.ListOffsets(newest, &sarama.ListOffsetsOptions{IsolationLevel: sarama.ReadCommitted})
		end := ends[topic][partition]
		if err == nil && end != nil && errors.Is(end.Err, sarama.ErrNoError) {
			return end.Offset
		}
		if ctx.Err() != nil {
			w.t.Fatalf("the admin API knows no end of %s/%d: %v, %+v", topic, partition, err, end)
		}
		_ = w.asked.RefreshMetadata(topic)
	}
}

func TestOnApacheKafka(t *testing.T) {
	w := openKafka(t)
	w.create("orders")
	w.produce("orders", 10)
	w.join("idle", "orders", 1_000)
	w.join("modern", "orders", 1_000, kgo.ServerSideBalancer())
	lagging := w.join("lagging", "orders", 7)
	w.await("groups that have read", func(r *groups.Round) bool {
		return lagOf(r, "idle", "orders") == 0 && lagOf(r, "modern", "orders") == 0 && owned(r, "lagging") == 3
	})
	t.Run("equal to the admin API", func(t *testing.T) {
		w.t = t
		r := w.await("a group that lags", func(r *groups.Round) bool {
			g := r.Group("lagging")
			return slices.ContainsFunc(g.Readings, func(one *groups.Reading) bool { _, known := one.Age.Get(); return known })
		})
		for _, group := range []string{"idle", "modern", "lagging"} {
			w.sameAsTheAdmin(r, group)
		}
		if g := r.Group("modern"); g.Type != groups.Consumer || g.State != "Stable" || len(g.Members) != 1 {
			t.Errorf("modern: %+v", g)
		}
		if len(r.Failures) > 0 || r.Answering() != 3 {
			t.Errorf("failures %v, brokers %+v", r.Failures, r.Brokers)
		}
	})
	t.Run("rebalance", func(t *testing.T) {
		w.t = t
		second := w.join("modern", "orders", 1_000, kgo.ServerSideBalancer())
		w.await("two owners", func(r *groups.Round) bool {
			g := r.Group("modern")
			return len(g.Members) == 2 && owned(r, "modern") == 3 && !slices.ContainsFunc(g.Members, func(m groups.Member) bool { return len(m.Assigned) == 0 })
		})
		second.stop()
		second.client.Close()
		w.await("one owner", func(r *groups.Round) bool { return len(r.Group("modern").Members) == 1 && owned(r, "modern") == 3 })
	})
	t.Run("members that are gone", func(t *testing.T) {
		w.t = t
		lagging.stop()
		lagging.client.Close()
		r := w.await("nobody", func(r *groups.Round) bool {
			return len(r.Group("lagging").Members) == 0 && lagOf(r, "idle", "orders") == 0
		})
		w.sameAsTheAdmin(r, "lagging")
	})
	t.Run("transactions", func(t *testing.T) { w.t = t; w.transactions() })
	t.Run("added", func(t *testing.T) {
		w.t = t
		if err := w.admin.CreatePartitions("orders", 4, nil, false); err != nil {
			t.Fatal(err)
		}
		r := w.await("the new partition", func(r *groups.Round) bool { return len(r.Group("idle").Readings) == 4 })
		is(t, readingOf(t, r, "idle", "orders", 3), groups.Uncommitted, number(0), none())
	})
	t.Run("deleted unread", func(t *testing.T) { w.t = t; w.deletedUnread() })
	t.Run("compacted", func(t *testing.T) { w.t = t; w.compacted() })
	t.Run("beyond the end, and gone", func(t *testing.T) { w.t = t; w.beyondAndGone() })
	t.Run("frozen", func(t *testing.T) { w.t = t; w.frozen() })
	t.Run("killed", func(t *testing.T) { w.t = t; w.killed() })
	t.Run("deleted and made anew", func(t *testing.T) { w.t = t; w.madeAnew() })
}

// transactions: an open one holds back all behind it, an aborted one leaves nothing.
func (w *kafkaWorld) transactions() {
	w.create("payments")
	w.join("transactional", "payments", 1_000)
	w.produce("payments", 1)
	w.await("a group that has read", func(r *groups.Round) bool { return lagOf(r, "transactional", "payments") == 0 })
	writer := w.newClient(kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := writer.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := writer.ProduceSync(w.t.Context(), &kgo.Record{Topic: "payments", Value: []byte("open")}).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	r := w.await("an open transaction", func(r *groups.Round) bool {
		p := r.Topic("payments").Partitions[0]
		return p.End == number(2) && p.Stable == number(1)
	})
	is(w.t, readingOf(w.t, r, "transactional", "payments", 0), groups.Plain, number(0), none())
	if err := writer.EndTransaction(w.t.Context(), kgo.TryAbort); err != nil {
		w.t.Fatal(err)
	}
	r = w.await("the marker", func(r *groups.Round) bool { return r.Topic("payments").Partitions[0].Stable == number(3) })
	is(w.t, readingOf(w.t, r, "transactional", "payments", 0), groups.Plain, number(0), none())
}

// commit commits for a group without members.
func (w *kafkaWorld) commit(group, topic string, offset int64) {
	w.t.Helper()
	manager, err := sarama.NewOffsetManagerFromClient(group, w.asked)
	if err != nil {
		w.t.Fatal(err)
	}
	of, err := manager.ManagePartition(topic, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	of.ResetOffset(offset, "")
	of.MarkOffset(offset, "")
	manager.Commit()
	of.AsyncClose()
	if err := manager.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.await("the commit", func(r *groups.Round) bool {
		g := r.Group(group)
		return g != nil && slices.ContainsFunc(g.Readings, func(one *groups.Reading) bool {
			return one.Topic == topic && one.Partition == 0 && one.Committed == number(offset)
		})
	})
}

// deletedUnread: what was deleted is lost and counted, and lag is what can still be read.
func (w *kafkaWorld) deletedUnread() {
	w.create("cut")
	w.produce("cut", 10)
	w.commit("cut", "cut", 2)
	if err := w.admin.DeleteRecords("cut", map[int32]int64{0: 5}); err != nil {
		w.t.Fatal(err)
	}
	w.await("the log's new start", func(r *groups.Round) bool {
		one := readingOf(w.t, r, "cut", "cut", 0)
		_, aged := one.Age.Get()
		return one.Case == groups.Purged && one.Lag == number(5) && one.Lost == number(3) && aged
	})
}

// compacted: records that compaction has taken out are not waited for.
func (w *kafkaWorld) compacted() {
	text := func(s string) *string { return &s }
	err := w.admin.CreateTopic("table", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 3, ConfigEntries: map[string]*string{
		"cleanup.policy": text("compact"), "min.cleanable.dirty.ratio": text("0.01"), "segment.ms": text("100"),
	}}, false)
	if err != nil {
		w.t.Fatal(err)
	}
	write := func(key string) {
		w.t.Helper()
		if err := w.client.ProduceSync(w.t.Context(), &kgo.Record{Topic: "table", Key: []byte(key), Value: []byte("value")}).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, key := range []string{"first", "same", "same", "same", "same"} {
		write(key)
	}
	w.commit("table", "table", 1)
	end := int64(5)
	w.await("a group for which the last of the same waits, and what came after it", func(r *groups.Round) bool {
		if one := readingOf(w.t, r, "table", "table", 0); one.Lag == number(end-4) {
			return true
		}
		write("more-" + strconv.FormatInt(end, 10)) // the log's last segment is never compacted
		end++
		return false
	})
}

// beyondAndGone: a commit beyond the end says nothing of what waits, nor does one that is gone.
func (w *kafkaWorld) beyondAndGone() {
	w.commit("ahead", "cut", 1_000)
	r := w.watched.Look(w.t.Context())
	is(w.t, readingOf(w.t, r, "ahead", "cut", 0), groups.Beyond, verdicts.Number{}, verdicts.Span{})
	w.commit("ahead", "cut", 7)
	w.await("a commit within the log", func(r *groups.Round) bool { return readingOf(w.t, r, "ahead", "cut", 0).Lag == number(3) })
	w.commit("ahead", "orders", 1) // else the group would be gone too
	if err := w.admin.DeleteConsumerGroupOffset("ahead", "cut", 0); err != nil {
		w.t.Fatal(err)
	}
	w.await("a commit that is gone", func(r *groups.Round) bool {
		g := r.Group("ahead")
		return g != nil && !slices.ContainsFunc(g.Readings, func(one *groups.Reading) bool { return one.Topic == "cut" && one.Case != groups.Expired })
	})
}

// killed: what a broker led that is killed is another's, and lag is known again.
func (w *kafkaWorld) killed() {
	leader := w.watched.Look(w.t.Context()).Topic("orders").Partitions[0].Leader
	w.cluster.Nodes()[leader-1].Kill()
	w.await("another leader, and two brokers", func(r *groups.Round) bool {
		t := r.Topic("orders")
		return t != nil && t.Partitions[0].Leader != leader && r.Answering() == 2 && lagOf(r, "idle", "orders") == 0
	})
	if err := w.cluster.Restart(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r := w.await("three brokers", func(r *groups.Round) bool {
		return r.Answering() == 3 && len(r.Failures) == 0 && len(r.Topic("orders").Partitions[0].InSync) == 3
	})
	w.sameAsTheAdmin(r, "lagging")
}

// frozen: a broker that hangs makes unknown what it leads and coordinates, until the
// others take over, which on a busy machine they may do before anybody looks.
func (w *kafkaWorld) frozen() {
	const tries = 5
	for range tries {
		if w.freezeLeader() {
			return
		}
	}
	w.t.Errorf("%d times another broker led before the one that hangs was seen", tries)
}

// freezeLeader freezes the leader of a partition until another leads, and says whether
// the partition was seen meanwhile, unknown.
func (w *kafkaWorld) freezeLeader() (seen bool) {
	leader := w.watched.Look(w.t.Context()).Topic("orders").Partitions[0].Leader
	node := w.cluster.Nodes()[leader-1].Process()
	if err := node.Freeze(); err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = node.Thaw() }()
	w.await("a broker that does not answer, and its partition unknown or another's", func(r *groups.Round) bool {
		orders := r.Topic("orders")
		if orders == nil {
			return false
		}
		p := orders.Partitions[0]
		seen = r.Answering() == 2 && p.Leader == leader && p.End.IsZero() && p.Why != ""
		return seen || p.Leader != leader
	})
	w.await("another leader", func(r *groups.Round) bool {
		t := r.Topic("orders")
		return t != nil && t.Partitions[0].Leader != leader && lagOf(r, "idle", "orders") == 0
	})
	if err := node.Thaw(); err != nil {
		w.t.Fatal(err)
	}
	r := w.await("three brokers", func(r *groups.Round) bool {
		return r.Answering() == 3 && len(r.Failures) == 0 && len(r.Topic("orders").Partitions[0].InSync) == 3
	})
	w.sameAsTheAdmin(r, "lagging")
	return seen
}

// madeAnew: a topic that is gone has no series, and its successor none of its commits.
func (w *kafkaWorld) madeAnew() {
	if err := w.admin.DeleteTopic("payments"); err != nil {
		w.t.Fatal(err)
	}
	w.await("a topic that is gone", func(r *groups.Round) bool {
		return r.Topic("payments") == nil && lagOf(r, "transactional", "payments") == -1
	})
	for { // brokers finish with the name a moment later
		err := w.admin.CreateTopic("payments", &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 3}, false)
		if !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			if err != nil {
				w.t.Fatal(err)
			}
			break
		}
	}
	w.client.PurgeTopicsFromClient("payments")
	w.produce("payments", 2)
	r := w.await("the new topic", func(r *groups.Round) bool {
		return r.Topic("payments") != nil && r.Topic("payments").Partitions[0].End == number(2)
	})
	if g := r.Group("transactional"); g != nil {
		for _, one := range g.Readings {
			if lag, known := one.Lag.Get(); known && lag > 2 || one.Lag == (verdicts.Number{}) && one.Why == "" {
				w.t.Errorf("%+v", *one)
			}
		}
	}
}
