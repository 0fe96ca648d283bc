package kafka

import (
	"crypto/rand"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
)

// Transaction is one of a stranger's: Vigie itself has none.
type Transaction struct {
	t        testing.TB
	producer sarama.SyncProducer
	ended    bool
}

// Begin opens a transaction with these records, each in the partition that it
// names. It is aborted at the latest when the test ends.
func Begin(t testing.TB, cfg kafka.Config, records ...*sarama.ProducerMessage) *Transaction {
	t.Helper()
	sc := sarama.NewConfig()
	sc.ClientID = "stranger"
	sc.Producer.Transaction.ID = rand.Text()
	sc.Producer.Idempotent = true
	sc.Producer.RequiredAcks = sarama.WaitForAll
	sc.Producer.Partitioner = sarama.NewManualPartitioner
	sc.Producer.Return.Successes = true
	sc.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer(cfg.Brokers, sc)
	if err != nil {
		t.Fatal(err)
	}
	tx := &Transaction{t: t, producer: producer}
	t.Cleanup(tx.Abort)
	if err := producer.BeginTxn(); err != nil {
		t.Fatal(err)
	}
	if err := producer.SendMessages(records); err != nil {
		t.Fatal(err)
	}
	return tx
}

// Commit has readers see the records.
func (tx *Transaction) Commit() { tx.end(tx.producer.CommitTxn) }

// Abort has readers never see the records, which stay in the log.
func (tx *Transaction) Abort() { tx.end(tx.producer.AbortTxn) }

func (tx *Transaction) end(how func() error) {
	if tx.ended {
		return
	}
	tx.ended = true
	if err := how(); err != nil {
		tx.t.Error(err)
	}
	if err := tx.producer.Close(); err != nil {
		tx.t.Error(err)
	}
}
