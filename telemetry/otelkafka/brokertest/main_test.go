package brokertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func newInstrumentation(t testing.TB, options otelkafka.Options) (*telemetrytest.Recorder, *otelkafka.Instrumentation) {
	t.Helper()
	r := telemetrytest.New(t, "shop", nil)
	inst, err := otelkafka.New(otelkafka.WithTelemetry(r.Telemetry), options)
	if err != nil {
		t.Fatal(err)
	}
	return r, inst
}

func wantAttributes(t *testing.T, span tracetest.SpanStub, want ...attribute.KeyValue) {
	t.Helper()
	for _, a := range want {
		if !slices.Contains(span.Attributes, a) {
			t.Errorf("span %q lacks %s=%s; it has %v", span.Name, a.Key, a.Value.String(), span.Attributes)
		}
	}
}

func TestMain(m *testing.M) { leaks.Main(m) }

// patience bounds what would hang. No test says anything by it.
const patience = 2 * time.Minute

// eventually waits for what happens in sarama's goroutines.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// wrapCluster starts a broker with the topic "out" of 3 partitions.
func wrapCluster(t testing.TB) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func wrapConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 1
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.MaxWaitTime = 20 * time.Millisecond // a consumer that is closed waits for its last fetch
	config.Consumer.Group.Heartbeat.Interval = 20 * time.Millisecond
	config.Metadata.Retry.Max = 1
	return config
}

// asyncOf returns a wrapped producer; it is the test's to close.
func asyncOf(t testing.TB, cluster *kfake.Cluster, config *sarama.Config, i *otelkafka.Instrumentation, options ...otelkafka.AsyncOption) sarama.AsyncProducer {
	t.Helper()
	p, err := sarama.NewAsyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	return otelkafka.WrapAsyncProducer(p, config, i, options...)
}

func syncOf(t testing.TB, cluster *kfake.Cluster, config *sarama.Config, i *otelkafka.Instrumentation) sarama.SyncProducer {
	t.Helper()
	p, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return otelkafka.WrapSyncProducer(p, i)
}

// readAll returns the first n records of the topic "out", as a reader of committed records sees them.
func readAll(t testing.TB, cluster *kfake.Cluster, n int) []*sarama.ConsumerMessage {
	t.Helper()
	config := wrapConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	all := make(chan *sarama.ConsumerMessage)
	done := make(chan struct{})
	defer close(done)
	for partition := range int32(3) {
		claim, err := consumer.ConsumePartition("out", partition, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = claim.Close() }() //nolint:revive // of three partitions
		go func() {
			for {
				select {
				case msg, ok := <-claim.Messages():
					if !ok {
						return
					}
					select {
					case all <- msg:
					case <-done:
						return
					}
				case <-done:
					return
				}
			}
		}()
	}
	var read []*sarama.ConsumerMessage
	for len(read) < n {
		select {
		case msg := <-all:
			read = append(read, msg)
		case <-t.Context().Done():
			t.Fatalf("%d of %d records were read", len(read), n)
		}
	}
	return read
}

// wantOffsets fails the test if the group "g" has other offsets of the topic "out".
func wantOffsets(t *testing.T, cluster *kfake.Cluster, want map[int32]int64) {
	t.Helper()
	client, err := sarama.NewClient(cluster.ListenAddrs(), wrapConfig())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	found, err := admin.ListConsumerGroupOffsets("g", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int32]int64{}
	for partition, block := range found.Blocks["out"] {
		got[partition] = block.Offset
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the group's offsets are %v, want %v", got, want)
	}
}
