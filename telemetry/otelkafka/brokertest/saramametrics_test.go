package brokertest

import (
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func TestObserveSaramaOnABroker(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(4, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for partition := range int32(4) {
		if err := cluster.MoveTopicPartition("t", partition, partition%2); err != nil {
			t.Fatal(err)
		}
	}
	r, inst := newInstrumentation(t, otelkafka.Options{})
	config := sarama.NewConfig()
	config.Producer.Partitioner = sarama.NewRoundRobinPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Compression = sarama.CompressionGZIP
	unregister, err := otelkafka.ObserveSarama(inst, "producer", config.MetricRegistry)
	if err != nil {
		t.Fatal(err)
	}
	producer, err := sarama.NewSyncProducer(cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	const n = 40
	for range n {
		value := sarama.StringEncoder(strings.Repeat("abc", 500))
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "t", Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		if got := r.Metric(catalogue.KafkaClientRecordsSentTotal, nil); got != n {
			t.Errorf("%s: %v records sent, want %d", when, got, n)
		}
		for name, least := range map[string]float64{
			catalogue.KafkaClientRequestsTotal: n, catalogue.KafkaClientSentBytesTotal: n * 50, catalogue.KafkaClientReceivedBytesTotal: n * 20,
		} {
			if got := r.Metric(name, nil); got < least || r.Series(name, nil) != 2 {
				t.Errorf("%s: %s is %v in %d series, want at least %v of 2 brokers", when, name, got, r.Series(name, nil), least)
			}
		}
		r.CheckCatalogue()
	}
	check("connected")
	if ratio := r.Metric(catalogue.KafkaClientCompressionRatio, map[string]string{"percentile": "50"}); ratio < 2 {
		t.Errorf("compression ratio %v of what repeats itself", ratio)
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed")
	if got := r.Series(catalogue.KafkaClientRequestLatencySeconds, nil); got != 0 {
		t.Errorf("%d series of latency are left after the client closed", got)
	}
	if err := unregister(); err != nil {
		t.Error(err)
	}
}
