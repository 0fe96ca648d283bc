package brokertest

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func txnConfig() *sarama.Config {
	config := wrapConfig()
	config.Producer.Transaction.ID = "shop"
	config.Producer.Transaction.Retry.Backoff = 2 * time.Millisecond
	config.Producer.Transaction.Retry.Max = 60_000 // the broker may take its time to end the transaction before
	config.Producer.Idempotent = true
	config.Producer.Return.Successes = true
	config.Net.MaxOpenRequests = 1
	return config
}

// A commit never overtakes a record: hundreds of small transactions are committed without waiting for any
// acknowledgement, and a reader of committed records sees each record.
func TestAsyncCommitNeverOvertakesARecord(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
	p := asyncOf(t, cluster, txnConfig(), inst)
	results := outcomes(p, 0)
	const transactions, each = 300, 3
	for n := range transactions {
		if err := p.BeginTxn(); err != nil {
			t.Fatal(err)
		}
		for range each {
			p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v"), Metadata: n}
		}
		if err := p.CommitTxn(); err != nil {
			t.Fatalf("transaction %d: %v", n, err)
		}
	}
	p.AsyncClose()
	sent, failed := results()
	if len(sent) != transactions*each || len(failed) != 0 {
		t.Errorf("%d records sent and %d failed (%v), want %d and none", len(sent), len(failed), failed, transactions*each)
	}
	if got := len(readAll(t, cluster, transactions*each)); got != transactions*each || len(r.Spans()) != got {
		t.Errorf("%d records are read, with %d spans", got, len(r.Spans()))
	}
}

// What was put in before an abort is aborted, also the last record.
func TestAsyncAbortTakesEveryRecord(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	_, inst := newInstrumentation(t, otelkafka.Options{})
	p := asyncOf(t, cluster, txnConfig(), inst)
	results := outcomes(p, 0)
	const transactions = 100
	for n := range transactions {
		if err := p.BeginTxn(); err != nil {
			t.Fatal(err)
		}
		end, value := p.CommitTxn, "kept"
		if n%2 == 0 {
			end, value = p.AbortTxn, "aborted"
		}
		p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder(value)}
		if err := end(); err != nil {
			t.Fatalf("transaction %d: %v", n, err)
		}
	}
	p.AsyncClose()
	if _, failed := results(); len(failed) != 0 {
		t.Errorf("%d records failed: %v", len(failed), failed)
	}
	for _, msg := range readAll(t, cluster, transactions/2) {
		if string(msg.Value) != "kept" {
			t.Fatalf("a reader of committed records sees %q", msg.Value)
		}
	}
}

// A record put in before BeginTxn is no part of the transaction: it fails, as it does with sarama.
func TestAsyncBeginOvertakesNoRecord(t *testing.T) {
	cluster := wrapCluster(t)
	_, inst := newInstrumentation(t, otelkafka.Options{})
	p := asyncOf(t, cluster, txnConfig(), inst)
	results := outcomes(p, 0)
	for range 20 {
		p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("early")}
	}
	_ = p.BeginTxn() // sarama may refuse after the failures
	p.AsyncClose()
	// Sarama may still be looking at the last record when the transaction begins.
	if sent, failed := results(); len(sent) > 1 || len(sent)+len(failed) != 20 {
		t.Errorf("%d records were sent without a transaction, %d failed", len(sent), len(failed))
	}
}

// All of sarama's transactional methods work through both wrappers, offsets included.
func TestTransactionalMethods(t *testing.T) {
	type transactional interface {
		IsTransactional() bool
		TxnStatus() sarama.ProducerTxnStatusFlag
		BeginTxn() error
		CommitTxn() error
		AddOffsetsToTxn(offsets map[string][]*sarama.PartitionOffsetMetadata, groupID string) error
		AddMessageToTxn(msg *sarama.ConsumerMessage, groupID string, metadata *string) error
		AddOffsetsToTxnWithGroupMetadata(map[string][]*sarama.PartitionOffsetMetadata, *sarama.ConsumerGroupMetadata) error
		AddMessageToTxnWithGroupMetadata(*sarama.ConsumerMessage, *sarama.ConsumerGroupMetadata, *string) error
	}
	offsets := map[string][]*sarama.PartitionOffsetMetadata{"out": {{Partition: 0, Offset: 1}}}
	msg := &sarama.ConsumerMessage{Topic: "out", Partition: 1, Offset: 2}
	use := func(t *testing.T, cluster *kfake.Cluster, p transactional, send func() error) {
		t.Helper()
		steps := []func() error{
			p.BeginTxn, send,
			func() error { return p.AddOffsetsToTxn(offsets, "g") },
			func() error { return p.AddMessageToTxn(msg, "g", nil) },
			func() error { return p.AddOffsetsToTxnWithGroupMetadata(offsets, sarama.NewConsumerGroupMetadata("g")) },
			func() error {
				return p.AddMessageToTxnWithGroupMetadata(msg, sarama.NewConsumerGroupMetadata("g"), nil)
			},
			p.CommitTxn,
		}
		if !p.IsTransactional() || p.TxnStatus()&sarama.ProducerTxnFlagReady == 0 {
			t.Errorf("transactional: %v, status %v", p.IsTransactional(), p.TxnStatus())
		}
		for n, step := range steps {
			if err := step(); err != nil {
				t.Fatalf("step %d: %v", n, err)
			}
		}
		readAll(t, cluster, 1)
		wantOffsets(t, cluster, map[int32]int64{0: 1, 1: 3})
	}
	t.Run("sync", func(t *testing.T) {
		_, inst := newInstrumentation(t, otelkafka.Options{})
		cluster := wrapCluster(t)
		p := syncOf(t, cluster, txnConfig(), inst)
		use(t, cluster, p, func() error {
			return p.SendMessages([]*sarama.ProducerMessage{{Topic: "out", Value: sarama.StringEncoder("v")}})
		})
	})
	t.Run("async", func(t *testing.T) {
		_, inst := newInstrumentation(t, otelkafka.Options{})
		cluster := wrapCluster(t)
		p := asyncOf(t, cluster, txnConfig(), inst)
		results := outcomes(p, 0)
		use(t, cluster, p, func() error {
			p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v")}
			return nil
		})
		p.AsyncClose()
		results()
	})
}
