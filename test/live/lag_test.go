//go:build integration && unix

package live_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// TestLagAgreesWithKafka checks the lag gauges against what Kafka's admin API
// says of the same group.
func TestLagAgreesWithKafka(t *testing.T) {
	broker := kafka.Start(t)
	eager := func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	}
	cooperative := func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
	t.Run("eager", func(t *testing.T) { stopsAndRebalances(onTopic(t, broker, "eager"), eager) })
	t.Run("cooperative", func(t *testing.T) { stopsAndRebalances(onTopic(t, broker, "cooperative"), cooperative) })
	t.Run("paused", func(t *testing.T) { pauses(onTopic(t, broker, "paused")) })
	t.Run("truncated", func(t *testing.T) { truncates(onTopic(t, broker, "truncated")) })
	t.Run("transactions", func(t *testing.T) { transacts(onTopic(t, broker, "transactions")) })
	t.Run("broker restarted", func(t *testing.T) { restarts(onTopic(t, broker, "restarted")) })
}

// stopsAndRebalances takes a group through its life.
func stopsAndRebalances(k *lagKafka, strategy func(*sarama.Config)) {
	t, group := k.t, k.topic+"-group"
	first := k.join(group, strategy)
	k.agree("idle on an idle topic", group, first)
	if err := errors.Join(same(first.records(t), each(0)), same(first.seconds(t), each(0))); err != nil {
		t.Errorf("idle: %v", err)
	}
	k.produce(4)
	k.agree("stuck in the handler", group, first)
	before := first.seconds(t)
	k.produce(2)
	k.agree("still stuck", group, first)
	settles(t, "older while stuck", func() error {
		for partition, seconds := range first.seconds(t) {
			if seconds <= before[partition] {
				return fmt.Errorf("the age of partition %d went from %v s to %v s", partition, before[partition], seconds)
			}
		}
		return nil
	})
	for range 5 {
		first.permits <- struct{}{}
	}
	k.agree("five records further", group, first)
	first.leave()
	if left := first.records(t); len(left) != 0 {
		t.Errorf("after leaving, the page has %v", left)
	}
	k.produce(3)

	second := k.join(group, strategy)
	k.agree("restarted", group, second)
	third := k.join(group, strategy)
	k.agree("shared by two", group, second, third)
	k.produce(1)
	close(third.permits)
	settles(t, "one of two goes on", func() error {
		for partition, lag := range third.records(t) {
			if lag != 0 {
				return fmt.Errorf("partition %d has %v", partition, lag)
			}
		}
		return nil
	})
	k.agree("one of two is stuck", group, second, third)
	third.leave()
	k.agree("alone again", group, second)
	close(second.permits)
	k.agree("going on", group, second)
	settles(t, "all processed", func() error {
		return errors.Join(same(second.records(t), each(0)), same(second.seconds(t), each(0)))
	})
	k.agree("all processed", group, second)
}

// pauses has records that were never fetched.
func pauses(k *lagKafka) {
	t, group := k.t, k.topic+"-group"
	m := k.join(group)
	close(m.permits)
	k.produce(1)
	settles(t, "processed", func() error { return same(k.lag(group), each(0)) })
	k.agree("processed", group, m)
	m.group.PauseAll()
	began := time.Now().Truncate(time.Millisecond) // as records have it
	k.produce(5)                                   // a fetch may be on its way, which the pause comes too late for
	k.agree("paused", group, m)
	k.produce(5)
	k.agree("still paused", group, m)
	settles(t, "the records' own age", func() error {
		for partition, seconds := range m.seconds(t) {
			if now := time.Since(began).Seconds(); seconds <= 0.5 || seconds > now {
				return fmt.Errorf("partition %d: %v s, %v s after the pause", partition, seconds, now)
			}
		}
		return nil
	})
	m.group.ResumeAll()
	settles(t, "resumed", func() error { return same(m.records(t), each(0)) })
	k.agree("resumed", group, m)
}

// truncates deletes records before and while they are processed.
func truncates(k *lagKafka) {
	t, group := k.t, k.topic+"-group"
	cut := func(offset int64) {
		t.Helper()
		to := make(map[int32]int64)
		for partition := range int32(lagPartitions) {
			to[partition] = offset
		}
		if err := k.admin.DeleteRecords(k.topic, to); err != nil {
			t.Fatal(err)
		}
	}
	k.produce(10)
	m := k.join(group)
	settles(t, "records in progress", func() error { return same(m.records(t), each(10)) })
	k.agree("whole", group, m)
	cut(4)
	settles(t, "cut under the record in progress", func() error { return same(m.records(t), each(6)) })
	k.agree("cut", group, m)
	m.leave()

	idle := newTracker(t, lagConfig(), k.Address())
	for partition := range int32(lagPartitions) {
		idle.Assign(k.topic, partition, 2)
	}
	settles(t, "a position before the log's start", func() error { return same(idle.records(t), each(6)) })
	cut(10)
	settles(t, "nothing is left", func() error {
		return errors.Join(same(idle.records(t), each(0)), same(idle.seconds(t), each(0)))
	})
	if !idle.CaughtUp() {
		t.Error("not caught up with what was deleted")
	}
}

// restarts takes the broker away and brings it back.
func restarts(k *lagKafka) {
	t := k.t
	k.produce(3)
	config := lagConfig()
	config.Net.DialTimeout, config.Net.ReadTimeout = 10*time.Second, 10*time.Second
	l := newTracker(t, config, k.Address())
	for partition := range int32(lagPartitions) {
		l.Assign(k.topic, partition, 1)
	}
	settles(t, "before", func() error { return same(l.records(t), each(2)) })
	before := l.seconds(t)
	k.Kill()
	settles(t, "ages grow without a broker", func() error {
		for partition, seconds := range l.seconds(t) {
			if seconds < before[partition]+1 {
				return fmt.Errorf("partition %d: %v s, was %v s", partition, seconds, before[partition])
			}
		}
		return same(l.records(t), each(2))
	})
	if err := k.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.produce(1)
	settles(t, "after", func() error { return same(l.records(t), each(3)) })
}

// transacts consumes what transactions leave behind. Kafka's tools count their markers for ever, as a sarama group's
// offset stays behind the last record; the gauges do not.
func transacts(k *lagKafka) {
	t, group := k.t, k.topic+"-group"
	producer := k.transactional()
	m := k.join(group)
	for range 2 {
		k.transaction(producer, 2, producer.CommitTxn)
	}
	settles(t, "two transactions of two records", func() error { return same(m.records(t), each(6)) })
	k.agree("nothing processed", group, m)
	close(m.permits)
	settles(t, "only a marker is left", func() error {
		return errors.Join(same(m.records(t), each(0)), same(m.seconds(t), each(0)), same(k.lag(group), each(1)))
	})
	k.transaction(producer, 3, producer.AbortTxn)
	settles(t, "only an aborted transaction is left", func() error { return same(k.lag(group), each(5)) })
	still(t, m.tracker, 0)

	m.leave()
	again := k.join(group)
	settles(t, "restarted before what is left", func() error { return same(again.records(t), each(0)) })
	if !again.CaughtUp() {
		t.Error("not caught up with markers and aborted records")
	}

	open := k.transactional()
	uncommitted := newTracker(t, lagConfigUncommitted(), k.Address())
	for partition, end := range k.offsets(sarama.OffsetNewest) {
		uncommitted.Assign(k.topic, partition, end)
	}
	k.transaction(open, 2, func() error {
		settles(t, "an open transaction, read uncommitted", func() error { return same(uncommitted.records(t), each(2)) })
		still(t, again.tracker, 0)
		return open.CommitTxn()
	})
	settles(t, "closed, and a record in progress", func() error { return same(again.records(t), each(3)) })
	close(again.permits)
	settles(t, "all processed", func() error { return same(again.records(t), each(0)) })
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
	config.Producer.Transaction.Retry.Max, config.Producer.Transaction.Retry.Backoff = 6000, 10*time.Millisecond
	producer, err := sarama.NewSyncProducer([]string{k.Address()}, config)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = producer.Close() })
	return producer
}

// transaction appends n records to each partition and ends it.
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
