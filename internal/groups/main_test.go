package groups_test

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

// sarama's metrics, which the comparison with Apache Kafka uses, keep one goroutine
// for the life of the process.
func TestMain(m *testing.M) {
	leaks.Main(m)
}

// world is a cluster, a client that changes it, and a collector that watches it by
// a clock that the test sets.
type world struct {
	*kfake.Cluster
	t       *testing.T
	client  *kgo.Client
	watched *groups.Collector
	network *network
	now     time.Time
}

// open starts a cluster with the topic "orders" of three partitions, whose
// partition p is led by broker p.
func open(t *testing.T, change func(*groups.Config), options ...kfake.Opt) *world {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(3), kfake.SeedTopics(3, "orders"), kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100"}),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for p := range int32(3) {
		_ = c.MoveTopicPartition("orders", p, p)
	}
	w := &world{Cluster: c, t: t, network: &network{frozen: map[string]bool{}}, now: time.Now()}
	w.client = w.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	w.watched = w.watch(change)
	return w
}

func (w *world) newClient(options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(w.ListenAddrs()...), kgo.DisableClientMetrics())...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

func (w *world) watch(change func(*groups.Config)) *groups.Collector {
	w.t.Helper()
	cfg := groups.Config{
		Kafka:   kafka.Config{Brokers: w.ListenAddrs(), ClientID: "test", Dialer: w.network},
		Timeout: time.Minute, Now: func() time.Time { return w.now },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := groups.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// look makes a round, a second after the one before.
func (w *world) look() *groups.Round {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	return w.watched.Look(w.t.Context())
}

// produce writes records to a partition of orders, with the time given.
func (w *world) produce(partition int32, at time.Time, values ...string) {
	w.t.Helper()
	w.produceTo("orders", partition, at, values...)
}

func (w *world) produceTo(topic string, partition int32, at time.Time, values ...string) {
	w.t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte(v), Value: []byte(v), Timestamp: at}
		if err := w.client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// commit commits an offset without being a member.
func (w *world) commit(group, topic string, partition int32, offset int64) {
	w.t.Helper()
	commitAlone(w.t, w.client, group, topic, w.topicID(topic), partition, offset)
}

// commitAlone commits for a group without members, as who resets offsets does.
func commitAlone(t *testing.T, client *kgo.Client, group, topic string, id [16]byte, partition int32, offset int64) {
	t.Helper()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.Generation = group, -1
	of := kmsg.NewOffsetCommitRequestTopic()
	of.Topic, of.TopicID = topic, id
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	of.Partitions = append(of.Partitions, p)
	request.Topics = append(request.Topics, of)
	answer, err := request.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) topicID(topic string) [16]byte {
	if info := w.TopicInfo(topic); info != nil {
		return info.TopicID
	}
	return [16]byte{}
}

// join starts a member of a group that reads topics and commits nothing. It leaves
// by what is returned, or with the test.
func (w *world) join(group string, topics []string, options ...kgo.Opt) (leave func()) {
	w.t.Helper()
	member := w.newClient(append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.ClientID("member"),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
	ctx, cancel := context.WithCancel(w.t.Context())
	var polling sync.WaitGroup
	polling.Go(func() {
		for ctx.Err() == nil {
			member.PollFetches(ctx)
		}
	})
	leave = func() { cancel(); polling.Wait(); member.Close() }
	w.t.Cleanup(leave)
	return leave
}

// await looks until what it sees will do.
func (w *world) await(what string, enough func(*groups.Round) bool) *groups.Round {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		r := w.look()
		if enough(r) {
			return r
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s was never seen; at last %+v", what, r)
		}
	}
}

// reading finds what a round saw of a group in a partition of orders.
func reading(t *testing.T, r *groups.Round, group string, partition int32) *groups.Reading {
	t.Helper()
	return readingOf(t, r, group, "orders", partition)
}

func readingOf(t *testing.T, r *groups.Round, group, topic string, partition int32) *groups.Reading {
	t.Helper()
	if g := r.Group(group); g != nil {
		i := slices.IndexFunc(g.Readings, func(one *groups.Reading) bool { return one.Topic == topic && one.Partition == partition })
		if i >= 0 {
			return g.Readings[i]
		}
		t.Fatalf("%s does not read %s/%d: %+v", group, topic, partition, g)
	}
	t.Fatalf("there is no group %s; failures %v", group, r.Failures)
	return nil
}

// network dials, and freezes connections: a broker behind one takes what it is sent
// and never answers.
type network struct {
	mu     sync.Mutex
	frozen map[string]bool // by address
}

// Dial implements [kafka.Dialer].
func (n *network) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &frozenConn{Conn: conn, network: n, address: address}, nil
}

func (n *network) freeze(port int, frozen bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen["127.0.0.1:"+strconv.Itoa(port)] = frozen
}

func (n *network) holds(address string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen[address]
}

type frozenConn struct {
	net.Conn
	network *network
	address string
}

// Write swallows what goes to a frozen broker, so that no answer comes.
func (c *frozenConn) Write(p []byte) (int, error) {
	if c.network.holds(c.address) {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func regexpOf(text string) *regexp.Regexp { return regexp.MustCompile(text) }

// describe tells of a round in lines.
func describe(r *groups.Round) string {
	var b strings.Builder
	fmt.Fprintf(&b, "brokers %+v\nfailures %+v\n", r.Brokers, r.Failures)
	for _, t := range r.Topics {
		if !t.Internal {
			fmt.Fprintf(&b, "%s %+v\n", t.Name, t.Partitions)
		}
	}
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "%s, %s, %d members, %s\n", g.Name, g.State, len(g.Members), g.Why)
		for _, one := range g.Readings {
			fmt.Fprintf(&b, "  %s: %s, committed %v, lag %v, age %v, %s\n", one.Place, one.Case, one.Committed, one.Lag, one.Age, one.Why)
		}
	}
	return b.String()
}
