package brokertest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// fill sends n records to each of the three partitions of the topic "out".
func fill(t *testing.T, cluster *kfake.Cluster, n int) {
	t.Helper()
	config := wrapConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	p, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for range n {
		for partition := range int32(3) {
			if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "out", Partition: partition, Value: sarama.StringEncoder("v")}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// follower is a member of a group that runs.
type follower struct {
	*otelkafka.ConsumerGroup
	t    *testing.T
	r    *telemetrytest.Recorder
	stop func()
}

func cooperative() *sarama.Config {
	config := wrapConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	return config
}

// joins starts a member of a group with a handler made for it.
func joins(
	t *testing.T, cluster *kfake.Cluster, config *sarama.Config, r *telemetrytest.Recorder, group string,
	handler func(*otelkafka.Instrumentation) sarama.ConsumerGroupHandler,
) *follower {
	t.Helper()
	inst, err := otelkafka.New(otelkafka.WithTelemetry(r.Telemetry), otelkafka.Options{ConsumerGroup: group, Consumes: []string{"out"}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := otelkafka.NewConsumerGroup(cluster.ListenAddrs(), group, config, inst)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{"out"}, handler(inst)); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	m := &follower{ConsumerGroup: g, t: t, r: r}
	m.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

func (m *follower) series(group string) int {
	return m.r.Series(catalogue.KafkaConsumerLag, map[string]string{"group": group})
}

func (m *follower) lag(group string) float64 {
	return m.r.Metric(catalogue.KafkaConsumerLag, map[string]string{"group": group})
}

// handlers are a handler for one record at a time, one for batches, and one of the user's own that marks by the session
// that Setup was given.
func handlers() map[string]func(*otelkafka.Instrumentation) sarama.ConsumerGroupHandler {
	return map[string]func(*otelkafka.Instrumentation) sarama.ConsumerGroupHandler{
		"one record at a time": func(i *otelkafka.Instrumentation) sarama.ConsumerGroupHandler {
			return otelkafka.NewHandler(i, func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error { return nil })
		},
		"batches": func(i *otelkafka.Instrumentation) sarama.ConsumerGroupHandler {
			return otelkafka.NewBatchHandler(i, 4, func(context.Context, sarama.ConsumerGroupSession, []*sarama.ConsumerMessage) error { return nil })
		},
		"of the user's own": func(*otelkafka.Instrumentation) sarama.ConsumerGroupHandler { return &markLater{} },
	}
}

type markLater struct{ session sarama.ConsumerGroupSession }

func (h *markLater) Setup(session sarama.ConsumerGroupSession) error { h.session = session; return nil }
func (*markLater) Cleanup(sarama.ConsumerGroupSession) error         { return nil }

func (h *markLater) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for msg := range claim.Messages() {
		h.session.MarkOffset(msg.Topic, msg.Partition, msg.Offset+1, "")
	}
	return nil
}

// With every kind of handler and of strategy, lag goes to 0 by the marks, is 0 from the first moment after a restart, and
// is gone after Close.
func TestAGroupsLag(t *testing.T) {
	for strategy, config := range map[string]func() *sarama.Config{"eager": wrapConfig, "cooperative": cooperative} {
		for name, handler := range handlers() {
			t.Run(strategy+", "+name, func(t *testing.T) {
				leaks.None(t)
				cluster := wrapCluster(t)
				fill(t, cluster, 10)
				for _, start := range []string{"first", "second"} {
					m := joins(t, cluster, config(), telemetrytest.New(t, "shop", nil), "g", handler)
					eventually(t, start+" start: every partition has a lag", func() bool { return m.series("g") == 3 })
					if start == "second" && m.lag("g") != 0 {
						t.Errorf("a group that was caught up restarts with a lag of %v", m.lag("g"))
					}
					eventually(t, start+" start: caught up", func() bool { return m.lag("g") == 0 && m.CaughtUp() })
					m.r.CheckCatalogue()
					if got := m.r.Metric(catalogue.KafkaConsumerRebalancesTotal, map[string]string{"cause": "joined"}); got != 1 {
						t.Errorf("%s start: joined %v times", start, got)
					}
					if m.r.Series(catalogue.KafkaClientRequestsTotal, map[string]string{"client": "consumer"}) == 0 {
						t.Errorf("%s start: sarama's own figures are missing", start)
					}
					m.stop()
					if m.series("g") != 0 || m.CaughtUp() {
						t.Errorf("%s start: %d series after Close", start, m.series("g"))
					}
				}
			})
		}
	}
}

// One of two groups in a process is stuck with its first records: its lag is not hidden by the other's.
func TestTwoGroupsInOneProcess(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	fill(t, cluster, 10)
	r := telemetrytest.New(t, "shop", nil)
	release := make(chan struct{})
	stuck := joins(t, cluster, wrapConfig(), r, "billing", func(i *otelkafka.Instrumentation) sarama.ConsumerGroupHandler {
		return otelkafka.NewHandler(i, func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error {
			<-release
			return nil
		})
	})
	audit := joins(t, cluster, wrapConfig(), r, "audit", handlers()["batches"])
	eventually(t, "billing is 30 behind and audit 0", func() bool {
		return stuck.series("billing") == 3 && stuck.lag("billing") == 30 && audit.series("audit") == 3 && audit.lag("audit") == 0
	})
	if stuck.CaughtUp() {
		t.Error("the group that is stuck says that it is caught up")
	}
	r.CheckCatalogue()
	close(release)
	eventually(t, "billing has caught up", stuck.CaughtUp)
}

// A cooperative rebalance takes partitions from a session that goes on: their lag is the other member's from then on.
func TestPartitionsThatMoveTakeTheirLagAlong(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	fill(t, cluster, 10)
	handler := handlers()["one record at a time"]
	one := joins(t, cluster, cooperative(), telemetrytest.New(t, "one", nil), "g", handler)
	eventually(t, "alone", func() bool { return one.series("g") == 3 })
	two := joins(t, cluster, cooperative(), telemetrytest.New(t, "two", nil), "g", handler)
	eventually(t, "shared", func() bool {
		return one.series("g")+two.series("g") == 3 && two.series("g") > 0 && one.CaughtUp() && two.CaughtUp()
	})
	fill(t, cluster, 5)
	eventually(t, "caught up again", func() bool { return one.lag("g")+two.lag("g") == 0 })
	if got := one.r.Metric(catalogue.KafkaConsumerRebalancesTotal, map[string]string{"cause": "group_changed"}); got == 0 {
		t.Error("the rebalance was not counted: the strategy is not watched")
	}
}

// What cannot be made leaves nothing behind.
func TestNewConsumerGroupFails(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{ConsumerGroup: "g"})
	client, err := sarama.NewClient(cluster.ListenAddrs(), wrapConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for name, try := range map[string]func() (*otelkafka.ConsumerGroup, error){
		"no instrumentation": func() (*otelkafka.ConsumerGroup, error) {
			return otelkafka.NewConsumerGroup(cluster.ListenAddrs(), "g", wrapConfig(), nil)
		},
		"another group's": func() (*otelkafka.ConsumerGroup, error) {
			return otelkafka.NewConsumerGroupFromClient("h", client, inst)
		},
		"no client": func() (*otelkafka.ConsumerGroup, error) {
			return otelkafka.NewConsumerGroupFromClient("g", nil, inst)
		},
		"no broker": func() (*otelkafka.ConsumerGroup, error) {
			return otelkafka.NewConsumerGroup(nil, "g", wrapConfig(), inst)
		},
	} {
		if g, err := try(); g != nil || err == nil {
			t.Errorf("%s: %v, %v", name, g, err)
		}
	}
	g, err := otelkafka.NewConsumerGroupFromClient("g", client, inst)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Consume(t.Context(), []string{"out"}, nil); err == nil {
		t.Error("a handler that is nil is taken")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if n := r.Series(catalogue.KafkaConsumerRebalancesTotal, nil); n != 0 || client.Closed() {
		t.Errorf("after Close: %d series of rebalances, the caller's client is closed: %v", n, client.Closed())
	}
}

// The producers that are made here are wrapped, and show what sarama measures until they are closed.
func TestProducersThatAreMadeHere(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
	config := wrapConfig()
	config.ClientID = "orders"
	p, err := otelkafka.NewSyncProducer(cluster.ListenAddrs(), config, inst)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "out"}); err != nil {
		t.Fatal(err)
	}
	observed := map[string]string{"client": "orders-producer"}
	if r.Metric(catalogue.KafkaMessagesProducedTotal, nil) != 1 || r.Series(catalogue.KafkaClientRecordsSentTotal, observed) != 1 {
		t.Errorf("the page has\n%s", r.Page())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	async, err := otelkafka.NewAsyncProducer(cluster.ListenAddrs(), wrapConfig(), inst, otelkafka.DiscardSuccesses())
	if err != nil {
		t.Fatal(err)
	}
	async.Input() <- &sarama.ProducerMessage{Topic: "out"}
	if err := async.Close(); err != nil {
		t.Error(err)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, nil); got != 2 {
		t.Errorf("counted %v records, want 2", got)
	}
	if n := r.Series(catalogue.KafkaClientRecordsSentTotal, nil); n != 0 {
		t.Errorf("%d series of sarama's are left", n)
	}
}

// Partitions that are read without a group have spans, counts and lag, by records and by batches, and leave nothing.
func TestPartitionsWithoutAGroup(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	fill(t, cluster, 10)
	r, inst := newInstrumentation(t, otelkafka.Options{Consumes: []string{"out"}})
	consumer, err := otelkafka.NewConsumer(cluster.ListenAddrs(), wrapConfig(), inst)
	if err != nil {
		t.Fatal(err)
	}
	lag := func(partition string) float64 {
		return r.Metric(catalogue.KafkaConsumerLag, map[string]string{"partition": partition})
	}
	first, err := consumer.Partition("out", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	known := func(partition string) bool {
		return r.Series(catalogue.KafkaConsumerLag, map[string]string{"partition": partition}) == 1
	}
	eventually(t, "all are left", func() bool { return known("0") && lag("0") == 10 })
	for record := range first.Records(t.Context()) {
		if record.Offset == 3 {
			record.Fail(sarama.ErrInvalidMessage) // and goes on
		}
		if record.Offset == 6 {
			break
		}
	}
	if got := lag("0"); got != 3 {
		t.Errorf("lag %v after seven of ten records, want 3", got)
	}
	for record := range first.Records(t.Context()) {
		record.Fail(sarama.ErrInvalidMessage)
		if record.Offset >= 7 {
			break
		}
	}
	if got := lag("0"); got != 3 {
		t.Errorf("lag %v, want 3: the record has failed", got)
	}
	second, err := consumer.Partition("out", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	left := 8
	for batch := range second.Batches(t.Context(), 3) {
		if left -= len(batch.Messages); left == 0 {
			break
		}
	}
	eventually(t, "all are done", func() bool { return known("1") && lag("1") == 0 })
	if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != 6+8 {
		t.Errorf("consumed %v, want 6 records of one partition and 8 of the other", got)
	}
	if _, err := consumer.Partition("out", 1, 2); err == nil {
		t.Error("a partition is read twice")
	}
	r.CheckCatalogue()
	first.AsyncClose()
	for range first.Messages() { // those that were fetched ahead
	}
	if err := errors.Join(second.Close(), consumer.Close()); err != nil {
		t.Error(err)
	}
	if n := r.Series(catalogue.KafkaConsumerLag, nil) + r.Series(catalogue.KafkaClientRequestsTotal, nil); n != 0 {
		t.Errorf("%d series are left", n)
	}
	for _, broken := range []func() (*otelkafka.Consumer, error){
		func() (*otelkafka.Consumer, error) { return otelkafka.NewConsumer(nil, nil, inst) },
		func() (*otelkafka.Consumer, error) { return otelkafka.NewConsumer(cluster.ListenAddrs(), nil, nil) },
		func() (*otelkafka.Consumer, error) { return otelkafka.NewConsumerFromClient(nil, inst) },
		func() (*otelkafka.Consumer, error) { return otelkafka.NewConsumerFromClient(nil, nil) },
	} {
		if c, err := broken(); c != nil || err == nil {
			t.Errorf("made %v with error %v", c, err)
		}
	}
}
