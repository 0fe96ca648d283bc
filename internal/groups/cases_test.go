package groups_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

func number(n int64) verdicts.Number { return verdicts.Known(n) }

// is checks what a round saw of a group in a partition.
func is(t *testing.T, one *groups.Reading, wanted groups.Case, lag verdicts.Number, age verdicts.Span) {
	t.Helper()
	_, lagKnown := one.Lag.Get()
	if one.Case != wanted || one.Lag != lag || one.Age != age || !lagKnown && one.Why == "" {
		t.Errorf("case %q, lag %v, age %v (%s); want %q, %v, %v", one.Case, one.Lag, one.Age, one.Why, wanted, lag, age)
	}
}

func seconds(n int) verdicts.Span { return verdicts.Known(time.Duration(n) * time.Second) }

func none() verdicts.Span { return verdicts.None[time.Duration]() }

// The age is that of the first record that the group has not processed, and grows
// while the group stays there, without being fetched again.
func TestTheAgeIsTheFirstUnprocessedRecords(t *testing.T) {
	w := open(t, nil)
	w.now = w.now.Truncate(time.Millisecond) // as timestamps are
	w.produce(0, w.now.Add(-9*time.Second), "a")
	w.produce(0, w.now.Add(-5*time.Second), "b", "c")
	w.commit("group", "orders", 0, 1)
	w.commit("again", "orders", 0, 1)
	r := w.look()
	is(t, reading(t, r, "group", 0), groups.Plain, number(2), seconds(6))
	if r.Requests["Fetch"] != 1 {
		t.Errorf("two groups at one place cost %d fetches", r.Requests["Fetch"])
	}
	r = w.look()
	is(t, reading(t, r, "again", 0), groups.Plain, number(2), seconds(7))
	if r.Requests["Fetch"] != 0 {
		t.Errorf("groups that do not move cost %d fetches", r.Requests["Fetch"])
	}
	w.commit("group", "orders", 0, 3)
	is(t, reading(t, w.look(), "group", 0), groups.Plain, number(0), none())
}

// Clocks of producers may be wrong: a time in the future, or none, counts from when
// the record was first seen here, also for a group that moves on.
func TestWrongClocksAreHeldAgainstFirstSight(t *testing.T) {
	w := open(t, nil)
	w.now = w.now.Truncate(time.Millisecond)
	w.produce(0, w.now.Add(time.Hour), "a", "b", "c")
	w.produce(1, time.UnixMilli(-1), "a")
	w.commit("group", "orders", 0, 0)
	w.commit("group", "orders", 1, 0)
	r := w.look()
	is(t, reading(t, r, "group", 0), groups.Plain, number(3), seconds(0))
	is(t, reading(t, r, "group", 1), groups.Plain, number(1), seconds(0))
	w.look()
	w.commit("group", "orders", 0, 1)
	r = w.look()
	is(t, reading(t, r, "group", 0), groups.Plain, number(2), seconds(2))
	is(t, reading(t, r, "group", 1), groups.Plain, number(1), seconds(2))
}

// Compaction leaves holes: what is gone is not waited for.
func TestCompactionLeavesHolesThatAreNoLag(t *testing.T) {
	w := open(t, nil)
	w.now = w.now.Truncate(time.Millisecond)
	if err := w.CreateTopic("table", 1, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}); err != nil {
		t.Fatal(err)
	}
	w.produceTo("table", 0, w.now.Add(-time.Minute), "first", "same", "same", "same", "same")
	w.produceTo("table", 0, w.now, "last")
	w.commit("group", "table", 0, 1)
	w.Compact()
	is(t, readingOf(t, w.look(), "group", "table", 0), groups.Plain, number(2), seconds(61)) // 4 and 5
	w.produceTo("table", 0, w.now, "same", "more")                                           // 6 and 7
	is(t, readingOf(t, w.look(), "group", "table", 0), groups.Plain, number(4), seconds(62))
	w.Compact() // it takes out what was seen to wait
	w.now = w.now.Add(29 * time.Second)
	is(t, readingOf(t, w.look(), "group", "table", 0), groups.Plain, number(3), seconds(32)) // from 5 on
}

// transaction writes records to partition 0 of orders in a transaction, which the
// function that it returns ends.
func (w *world) transaction(values ...string) (end func(kgo.TransactionEndTry)) {
	w.t.Helper()
	client := w.newClient(kgo.TransactionalID("tx-"+values[0][:1]), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	for _, v := range values {
		r := &kgo.Record{Topic: "orders", Value: []byte(v), Timestamp: w.now}
		if err := client.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	return func(how kgo.TransactionEndTry) {
		if err := client.EndTransaction(w.t.Context(), how); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Markers and aborted records are no data: a log that ends in them leaves nothing to
// process. An open transaction holds back all behind it, but not from a group that
// reads uncommitted records.
func TestTransactionsCountAsReadersSeeThem(t *testing.T) {
	w := open(t, func(c *groups.Config) { c.ReadUncommitted = regexpOf("^dirty$") })
	w.now = w.now.Truncate(time.Millisecond)
	end := w.transaction("a") // 0, its marker 1
	w.commit("group", "orders", 0, 0)
	w.commit("dirty", "orders", 0, 0)
	r := w.look()
	is(t, reading(t, r, "group", 0), groups.Plain, number(0), none())
	is(t, reading(t, r, "dirty", 0), groups.Plain, number(1), seconds(1))
	end(kgo.TryCommit)
	w.commit("group", "orders", 0, 1)
	is(t, reading(t, w.look(), "group", 0), groups.Plain, number(0), none())
	w.transaction("b", "c")(kgo.TryAbort) // 2, 3 and 4
	r = w.look()
	is(t, reading(t, r, "group", 0), groups.Plain, number(0), none())
	if lag := reading(t, r, "dirty", 0).Lag; lag != number(5) {
		t.Errorf("a dirty reader's lag is %v", lag)
	}
	w.produce(0, w.now.Add(-10*time.Second), "d")
	is(t, reading(t, w.look(), "group", 0), groups.Plain, number(1), seconds(11))
}

// What was deleted unread is lost and counted; the lag is what can still be read.
func TestPurgedRecordsAreLostAndSeen(t *testing.T) {
	w := open(t, nil)
	w.now = w.now.Truncate(time.Millisecond)
	w.produce(0, w.now.Add(-time.Hour), "a", "b", "c")
	w.produce(0, w.now, "d", "e")
	w.commit("group", "orders", 0, 1)
	if err := w.DeleteRecords("orders", 0, 3); err != nil {
		t.Fatal(err)
	}
	one := reading(t, w.look(), "group", 0)
	is(t, one, groups.Purged, number(2), seconds(1))
	if one.Lost != number(2) {
		t.Errorf("%v lost", one.Lost)
	}
	if err := w.DeleteRecords("orders", 0, 5); err != nil {
		t.Fatal(err)
	}
	one = reading(t, w.look(), "group", 0)
	is(t, one, groups.Purged, number(0), none())
	if one.Lost != number(4) {
		t.Errorf("%v lost", one.Lost)
	}
}

// A commit behind the end, as after a truncation, says nothing about what is left.
func TestACommitBeyondTheEndIsUnknown(t *testing.T) {
	w := open(t, nil)
	w.produce(0, w.now, "a")
	w.commit("group", "orders", 0, 2)
	is(t, reading(t, w.look(), "group", 0), groups.Beyond, verdicts.Number{}, verdicts.Span{})
	w.produce(0, w.now, "b", "c")
	if one := reading(t, w.look(), "group", 0); one.Case != groups.Plain || one.Lag != number(1) {
		t.Errorf("%+v", one)
	}
}

// A topic that was deleted and made anew is another one: a commit that stayed is not
// about it.
func TestACommitToTheTopicBeforeIsUnknown(t *testing.T) {
	w := open(t, nil)
	w.produce(0, w.now, "a", "b", "c")
	w.commit("group", "orders", 0, 2)
	w.look()
	if err := w.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	if g := w.look().Group("group"); g != nil && len(g.Readings) > 0 {
		t.Errorf("a topic that is gone is read: %+v", g.Readings)
	}
	if err := w.CreateTopic("orders", 3, nil); err != nil {
		t.Fatal(err)
	}
	w.client.PurgeTopicsFromClient("orders")
	w.produce(0, w.now, "d", "e", "f")
	w.commit("group", "orders", 0, 2) // as brokers before Kafka 4 may keep it
	r := w.look()
	if one := reading(t, r, "group", 0); one.Case != groups.Plain || one.Lag != number(1) { // nobody saw it together with the old topic's id
		t.Errorf("%+v", one)
	}
}

// The same without a round in between: the commit did not move, the topic's id did.
func TestACommitThatStaysWhileItsTopicIsMadeAnewIsUnknown(t *testing.T) {
	w := open(t, nil)
	w.produce(0, w.now, "a", "b", "c")
	w.commit("group", "orders", 0, 2)
	w.look()
	if err := w.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	if err := w.CreateTopic("orders", 3, nil); err != nil {
		t.Fatal(err)
	}
	w.client.PurgeTopicsFromClient("orders")
	w.produce(0, w.now, "d", "e", "f")
	w.commit("group", "orders", 0, 2)
	is(t, reading(t, w.look(), "group", 0), groups.Recreated, verdicts.Number{}, verdicts.Span{})
	is(t, reading(t, w.look(), "group", 0), groups.Recreated, verdicts.Number{}, verdicts.Span{})
	w.commit("group", "orders", 0, 1)
	if one := reading(t, w.look(), "group", 0); one.Case != groups.Plain || one.Lag != number(2) {
		t.Errorf("%+v", one)
	}
}

// Where nothing is committed nobody knows where the group begins, unless there is
// nothing to read. A commit that was there and is gone is told apart.
func TestMissingCommitsAreUnknown(t *testing.T) {
	w := open(t, nil)
	w.produce(0, w.now, "a", "b")
	w.join("group", []string{"orders"})
	r := w.await("three owners", func(r *groups.Round) bool { return owned(r, "group") == 3 })
	is(t, reading(t, r, "group", 0), groups.Uncommitted, verdicts.Number{}, verdicts.Span{})
	is(t, reading(t, r, "group", 1), groups.Uncommitted, number(0), none())
	w.commit("alone", "orders", 0, 1)
	if g := w.look().Group("alone"); len(g.Readings) != 1 { // it never had members: nothing says that it reads the rest
		t.Errorf("%+v", g.Readings)
	}
}

func TestACommitThatExpiredIsToldApart(t *testing.T) {
	w := open(t, nil)
	w.produce(0, w.now, "a", "b")
	leave := w.join("group", []string{"orders"})
	w.await("three owners", func(r *groups.Round) bool { return owned(r, "group") == 3 })
	leave()
	w.await("nobody", func(r *groups.Round) bool { return r.Group("group").State == "Empty" })
	w.commit("group", "orders", 0, 1)
	w.commit("group", "orders", 1, 0)
	if one := reading(t, w.look(), "group", 0); one.Lag != number(1) {
		t.Errorf("%+v", one)
	}
	w.forget("group", "orders", 0)
	one := reading(t, w.look(), "group", 0)
	is(t, one, groups.Expired, verdicts.Number{}, verdicts.Span{})
	if !strings.Contains(one.Why, "last seen at 1") {
		t.Error(one.Why)
	}
}

// forget deletes a group's offset, as its expiry does.
func (w *world) forget(group, topic string, partition int32) {
	w.t.Helper()
	request := kmsg.NewPtrOffsetDeleteRequest()
	request.Group = group
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic = topic
	t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: partition})
	request.Topics = append(request.Topics, t)
	answer, err := request.RequestWith(w.t.Context(), w.client)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A partition that was added is read by the group from when members share the topic
// out; before it has a commit it is known only while it is empty.
func TestAddedPartitionsAreSeen(t *testing.T) {
	w := open(t, nil)
	w.join("group", []string{"orders"}, kgo.MetadataMinAge(10*time.Millisecond), kgo.MetadataMaxAge(100*time.Millisecond))
	w.await("three owners", func(r *groups.Round) bool { return owned(r, "group") == 3 })
	request := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = "orders", 4
	request.Topics, request.TimeoutMillis = append(request.Topics, topic), 60_000
	if answer, err := request.RequestWith(t.Context(), w.client); err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatal(err, answer)
	}
	r := w.await("the fourth", func(r *groups.Round) bool { // while the group rebalances, nobody knows what it reads
		g := r.Group("group")
		return g != nil && slices.ContainsFunc(g.Readings, func(one *groups.Reading) bool { return one.Topic == "orders" && one.Partition == 3 })
	})
	is(t, reading(t, r, "group", 3), groups.Uncommitted, number(0), none())
	w.client.PurgeTopicsFromClient("orders")
	w.produce(3, w.now, "a")
	r = w.await("four owners", func(r *groups.Round) bool { return owned(r, "group") == 4 })
	is(t, reading(t, r, "group", 3), groups.Uncommitted, verdicts.Number{}, verdicts.Span{})
	if one := reading(t, r, "group", 3); !strings.HasPrefix(one.Owner, "member at") {
		t.Errorf("owner %q", one.Owner)
	}
}

// A record that does not fit into the first look is fetched whole, and so is one
// behind many that were aborted.
func TestLargeBatchesAreFetchedWhole(t *testing.T) {
	w := open(t, nil)
	w.now = w.now.Truncate(time.Millisecond)
	large := strings.Repeat("large", 60_000)
	for p := range int32(3) {
		w.produce(p, w.now, "x"+large)
		w.commit("group", "orders", p, 0)
	}
	for range 3 {
		w.transaction(large)(kgo.TryAbort)
	}
	w.produce(0, w.now, "end")
	w.commit("group", "orders", 0, 1)
	r := w.look()
	for p := range int32(3) {
		is(t, reading(t, r, "group", p), groups.Plain, number(1), seconds(1))
	}
}

// A round fetches no more than its limit; those that were left out come next, and
// are unknown until then.
func TestAgesHaveALimitAndTheirTurn(t *testing.T) {
	w := open(t, func(c *groups.Config) { c.Limits = groups.Limits{Partitions: 100, Readings: 100, Ages: 2} })
	for p := range int32(3) {
		w.produce(p, w.now, "a")
		w.commit("group", "orders", p, 0)
	}
	known := func(r *groups.Round) (n int) {
		for _, one := range r.Group("group").Readings {
			if _, ok := one.Age.Get(); ok {
				n++
			} else if one.Why == "" || one.Lag != number(1) {
				t.Errorf("%+v", *one)
			}
		}
		return n
	}
	if r := w.look(); known(r) != 2 || r.LeftOut.Ages != 1 {
		t.Errorf("%d ages known, %+v left out", known(r), r.LeftOut)
	}
	if r := w.look(); known(r) != 3 || r.LeftOut.Ages != 0 {
		t.Errorf("%d ages known, %+v left out", known(r), r.LeftOut)
	}
}

// Who may not read a topic does without ages: that is said once, is no failure, and
// is not tried each time.
func TestWithoutTheRightToReadAgesAreUnknown(t *testing.T) {
	var log bytes.Buffer
	w := open(t, func(c *groups.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	w.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	for p := range int32(2) {
		w.produce(p, w.now, "a")
		w.commit("group", "orders", p, 0)
	}
	for i := range 3 {
		r := w.look()
		if i > 0 && (r.Requests["Fetch"] > 0 || r.Requests["DescribeConfigs"] > 0) || len(r.Failures) > 0 {
			t.Errorf("round %d: requests %v, failures %v", i, r.Requests, r.Failures)
		}
		one := reading(t, r, "group", 1)
		is(t, one, groups.Plain, number(1), verdicts.Span{})
		if !strings.Contains(one.Why, "may not read") && !strings.Contains(one.Why, "AUTHORIZATION") {
			t.Errorf("round %d: %s", i, one.Why)
		}
	}
	if n := strings.Count(log.String(), "lag in seconds"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// The end is asked after the commit: a group that moves is not seen beyond it.
func TestEndsAreAskedAfterCommits(t *testing.T) {
	w := open(t, nil)
	w.commit("group", "orders", 0, 0)
	var asked []kmsg.Key
	w.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.KeepControl()
		asked = append(asked, kmsg.Key(r.Key()))
		return nil, nil, false
	})
	w.look()
	w.Close() // after it nothing is added
	last := len(asked) - 1 - slices.Index(reversed(asked), kmsg.OffsetFetch)
	if first := slices.Index(asked, kmsg.ListOffsets); last < 0 || first < last {
		t.Errorf("asked in the order %v", asked)
	}
}

func reversed(keys []kmsg.Key) []kmsg.Key {
	keys = slices.Clone(keys)
	slices.Reverse(keys)
	return keys
}
