//go:build unix && integration

package kafka_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// transacts consumes what transactions leave behind. Kafka's tools count their markers for ever, as a sarama group's
// offset stays behind the last record; the gauges do not.
func transacts(k *lagKafka) {
	t, group := k.t, k.topic+"-group"
	producer := k.transactional()
	m := k.join(group)
	for range 2 {
		k.transaction(producer, 2, producer.CommitTxn)
	}
	eventually(t, "two transactions of two records", func() error { return same(m.records(t), each(6)) })
	k.agree("nothing processed", group, m)
	close(m.permits)
	eventually(t, "only a marker is left", func() error {
		return errors.Join(same(m.records(t), each(0)), same(m.seconds(t), each(0)), same(k.lag(group), each(1)))
	})
	k.transaction(producer, 3, producer.AbortTxn)
	eventually(t, "only an aborted transaction is left", func() error { return same(k.lag(group), each(5)) })
	still(t, m.tracker, 0)

	m.leave()
	again := k.join(group)
	eventually(t, "restarted before what is left", func() error { return same(again.records(t), each(0)) })
	if !again.CaughtUp() {
		t.Error("not caught up with markers and aborted records")
	}

	open := k.transactional()
	uncommitted := newTracker(t, lagConfigUncommitted(), k.Address())
	for partition, end := range k.offsets(sarama.OffsetNewest) {
		uncommitted.Assign(k.topic, partition, end)
	}
	k.transaction(open, 2, func() error {
		eventually(t, "an open transaction, read uncommitted", func() error { return same(uncommitted.records(t), each(2)) })
		still(t, again.tracker, 0)
		return open.CommitTxn()
	})
	eventually(t, "closed, and a record in hand", func() error { return same(again.records(t), each(3)) })
	close(again.permits)
	eventually(t, "all processed", func() error { return same(again.records(t), each(0)) })
}

func lagConfigUncommitted() *sarama.Config {
	config := lagConfig()
	config.Consumer.IsolationLevel = sarama.ReadUncommitted
	return config
}

// still holds that the lag is and stays so, over a few polls.
func still(t *testing.T, l *tracker, want float64) {
	t.Helper()
	ticker := time.NewTicker(lagPoll)
	defer ticker.Stop()
	for range 5 {
		<-ticker.C
		if err := same(l.records(t), each(want)); err != nil {
			t.Fatal(err)
		}
	}
}

// transactional makes a producer of one transaction at a time.
func (k *lagKafka) transactional() sarama.SyncProducer {
	k.t.Helper()
	config := lagConfig()
	config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	config.Producer.Transaction.ID = fmt.Sprintf("%s-%d", k.topic, time.Now().UnixNano())
	config.Producer.Transaction.Retry.Max, config.Producer.Transaction.Retry.Backoff = 500, 5*time.Millisecond
	producer, err := sarama.NewSyncProducer([]string{k.Address()}, config)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = producer.Close() })
	return producer
}

// transaction appends n records to each partition and ends as told.
func (k *lagKafka) transaction(producer sarama.SyncProducer, n int, end func() error) {
	k.t.Helper()
	if err := producer.BeginTxn(); err != nil {
		k.t.Fatal(err)
	}
	k.send(producer, n)
	if err := end(); err != nil {
		k.t.Fatal(err)
	}
}
