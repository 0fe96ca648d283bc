package brokertest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// member is one consumer group member with its instruments and a telemetry of its own.
type member struct {
	t    *testing.T
	r    *telemetrytest.Recorder
	stop func()
}

// idle is a handler that waits for its claim's end.
type idle struct{}

func (idle) Setup(sarama.ConsumerGroupSession) error { return nil }

func (idle) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (idle) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for range claim.Messages() {
	}
	return nil
}

// startMember joins the group "g" on the topic "t" and goes on joining until stopped.
func startMember(t *testing.T, addrs []string, cooperative bool) *member {
	t.Helper()
	r, inst := newInstrumentation(t, otelkafka.Options{ConsumerGroup: "g", Consumes: []string{"t"}})
	rebalances, err := otelkafka.NewRebalances(inst)
	if err != nil {
		t.Fatal(err)
	}
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Consumer.MaxWaitTime = 20 * time.Millisecond
	config.Consumer.Group.Session.Timeout = patience // no member is lost for being slow
	config.Consumer.Group.Heartbeat.Interval = 20 * time.Millisecond
	config.Consumer.Group.Rebalance.Retry.Backoff = 20 * time.Millisecond
	config.Metadata.RefreshFrequency = 50 * time.Millisecond
	strategy := sarama.NewBalanceStrategyRange()
	if cooperative {
		strategy = sarama.NewBalanceStrategyCooperativeSticky()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{rebalances.Strategy(strategy)}
	group, err := sarama.NewConsumerGroup(addrs, "g", config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		for ctx.Err() == nil {
			_ = group.Consume(ctx, []string{"t"}, rebalances.Watch(idle{})) // an error is a session lost: join again
		}
	})
	m := &member{t: t, r: r}
	m.stop = sync.OnceFunc(func() {
		cancel()
		consuming.Wait()
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

func (m *member) count(cause string) float64 {
	m.t.Helper()
	return m.r.Metric(catalogue.KafkaConsumerRebalancesTotal, map[string]string{"cause": cause})
}

func (m *member) assigned() float64 {
	m.t.Helper()
	return m.r.Metric(catalogue.KafkaConsumerAssignedPartitions, map[string]string{"topic": "t"})
}

func groupCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func TestRebalancesOfAGroup(t *testing.T) {
	for name, cooperative := range map[string]bool{"eager": false, "cooperative": true} {
		t.Run(name, func(t *testing.T) {
			cluster := groupCluster(t)
			one := startMember(t, cluster.ListenAddrs(), cooperative)
			eventually(t, "one member has all", func() bool { return one.assigned() == 4 })
			if one.count("joined") != 1 || one.count("group_changed") != 0 {
				t.Errorf("joined %v, changed %v; want 1 and 0", one.count("joined"), one.count("group_changed"))
			}
			two := startMember(t, cluster.ListenAddrs(), cooperative)
			eventually(t, "two members share", func() bool { return one.assigned() == 2 && two.assigned() == 2 })
			changed := one.count("group_changed")
			if changed == 0 {
				t.Error("the first member has seen no rebalance")
			}
			two.stop()
			eventually(t, "one member has all again", func() bool { return one.assigned() == 4 })
			if one.count("group_changed") <= changed {
				t.Error("the first member has not seen the other go")
			}
			total := one.count("group_changed")
			if timed := one.r.Metric(catalogue.KafkaConsumerRebalanceDuration, nil); timed != total {
				t.Errorf("%v of %v rebalances are timed", timed, total)
			}
			if one.count("joined") != 1 || two.count("joined") != 1 || two.assigned() != 0 {
				t.Errorf("joined %v and %v, want once each; the second has %v partitions", one.count("joined"), two.count("joined"), two.assigned())
			}
			one.stop()
			if got := one.count("group_changed"); got != total || one.assigned() != 0 {
				t.Errorf("stopping counts as a rebalance: %v, want %v; %v partitions are left", got, total, one.assigned())
			}
			one.r.CheckCatalogue()
		})
	}
}

func TestPartitionCountChangeIsACause(t *testing.T) {
	for name, cooperative := range map[string]bool{"eager": false, "cooperative": true} {
		t.Run(name, func(t *testing.T) {
			cluster := groupCluster(t)
			m := startMember(t, cluster.ListenAddrs(), cooperative)
			eventually(t, "assigned", func() bool { return m.assigned() == 4 })
			admin, err := sarama.NewClusterAdmin(cluster.ListenAddrs(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = admin.Close() }()
			if err := admin.CreatePartitions("t", 6, nil, false); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all six assigned", func() bool { return m.assigned() == 6 })
			if m.count("partitions_changed") != 1 || m.r.Metric(catalogue.KafkaConsumerRebalanceDuration, nil) != 1 {
				t.Errorf("counted %v, want 1, timed once", m.count("partitions_changed"))
			}
		})
	}
}

func TestLostSessionIsACause(t *testing.T) {
	for name, cooperative := range map[string]bool{"eager": false, "cooperative": true} {
		t.Run(name, func(t *testing.T) {
			cluster := groupCluster(t)
			m := startMember(t, cluster.ListenAddrs(), cooperative)
			eventually(t, "assigned", func() bool { return m.assigned() == 4 })
			var refused atomic.Bool
			cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
				refused.Store(true)
				response := req.ResponseKind().(*kmsg.HeartbeatResponse)
				response.ErrorCode = int16(sarama.ErrUnknownMemberId)
				return response, nil, true
			})
			eventually(t, "counted", func() bool { return m.count("session_lost") == 1 })
			eventually(t, "assigned again", func() bool { return m.assigned() == 4 })
			if !refused.Load() || m.count("joined") != 1 {
				t.Errorf("refused %v, joined %v", refused.Load(), m.count("joined"))
			}
			if timed := m.r.Metric(catalogue.KafkaConsumerRebalanceDuration, nil); timed < 1 {
				t.Errorf("%v rebalances are timed", timed)
			}
		})
	}
}

// TestAMemberIsOnThePage is otelkafka's example of rebalances. A member asks twice to join: Kafka refuses a new one's first
// request, to give it an id.
func TestAMemberIsOnThePage(t *testing.T) {
	cluster := groupCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{ConsumerGroup: "g", Consumes: []string{"t"}})
	rebalances, err := otelkafka.NewRebalances(inst)
	if err != nil {
		t.Fatal(err)
	}
	config := wrapConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		rebalances.Strategy(sarama.NewBalanceStrategyCooperativeSticky()),
	}
	unregister, err := otelkafka.ObserveSarama(inst, "consumer", config.MetricRegistry)
	if err != nil {
		t.Fatal(err)
	}
	group, err := sarama.NewConsumerGroup(cluster.ListenAddrs(), "g", config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	look := func(sarama.ConsumerGroupSession) error {
		for name, want := range map[string]float64{
			catalogue.KafkaClientGroupJoinsTotal: 2, catalogue.KafkaConsumerAssignedPartitions: 4, catalogue.KafkaConsumerRebalancesTotal: 1,
		} {
			if got := r.Metric(name, nil); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		stop()
		return nil
	}
	handle := func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error { return nil }
	handler := otelkafka.NewHandler(inst, handle, otelkafka.OnSetup(look))
	if err := group.Consume(ctx, []string{"t"}, rebalances.Watch(handler)); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{group.Close, unregister, rebalances.Close} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{catalogue.KafkaClientGroupJoinsTotal, catalogue.KafkaConsumerAssignedPartitions} {
		if n := r.Series(name, nil); n != 0 {
			t.Errorf("%d series of %s are left", n, name)
		}
	}
}
