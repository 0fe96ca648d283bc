package otelkafka

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// mockCluster is a few brokers that lead the partitions of the topic "t" in turn, each partition with n records.
type mockCluster struct {
	brokers []*sarama.MockBroker
	client  sarama.Client
	close   func()
}

func newMockCluster(t *testing.T, brokers, partitions, n int) *mockCluster {
	t.Helper()
	c := &mockCluster{}
	metadata := sarama.NewMockMetadataResponse(t).SetController(0)
	var addrs []string
	for id := range brokers {
		broker := sarama.NewMockBroker(t, int32(id))
		c.brokers, addrs = append(c.brokers, broker), append(addrs, broker.Addr())
		metadata.SetBroker(broker.Addr(), broker.BrokerID())
	}
	offsets := sarama.NewMockOffsetResponse(t)
	for partition := range int32(partitions) {
		metadata.SetLeader("t", partition, partition%int32(brokers))
		offsets.SetOffset("t", partition, sarama.OffsetOldest, 0).SetOffset("t", partition, sarama.OffsetNewest, int64(n))
	}
	for _, broker := range c.brokers {
		broker.SetHandlerByMap(map[string]sarama.MockResponse{
			"MetadataRequest": metadata, "OffsetRequest": offsets, "FetchRequest": sarama.NewMockWrapper(allRecords(partitions, n)),
		})
	}
	config := sarama.NewConfig()
	config.ApiVersionsRequest = false
	config.Metadata.Retry.Max = 0
	var err error
	if c.client, err = sarama.NewClient(addrs, config); err != nil {
		t.Fatal(err)
	}
	c.close = sync.OnceFunc(func() {
		for _, broker := range c.brokers {
			broker.Close()
		}
	})
	t.Cleanup(c.close)
	t.Cleanup(func() { _ = c.client.Close() })
	return c
}

// allRecords answers a fetch with n records of each partition. Each broker has one of its own: sarama changes it as it encodes it.
func allRecords(partitions, n int) *sarama.FetchResponse {
	records := &sarama.FetchResponse{Version: 10}
	for partition := range int32(partitions) {
		for offset := range int64(n) {
			records.AddRecordBatchWithTimestamp("t", partition, nil, sarama.StringEncoder("v"), offset, -1, false, batchTime())
		}
	}
	return records
}

// requests returns how many requests of a type the brokers have had.
func requests[T any](c *mockCluster) (n int) {
	for _, broker := range c.brokers {
		for _, exchange := range broker.History() {
			if _, ok := any(exchange.Request).(T); ok {
				n++
			}
		}
	}
	return n
}

// lagOn returns a tracker on the brokers, to be polled by hand.
func (c *mockCluster) lagOn(t *testing.T) (*telemetrytest.Recorder, *Lag) {
	t.Helper()
	r, inst := newInstrumentation(t, Options{})
	l, err := NewLag(inst, c.client, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l.timeout = time.Hour // however slow the machine
	return r, l
}

// TestLagCostsRequestsByBroker checks the number of requests against the number of brokers, for many partitions.
func TestLagCostsRequestsByBroker(t *testing.T) {
	const brokers, partitions = 3, 30
	cluster := newMockCluster(t, brokers, partitions, 1)
	r, l := cluster.lagOn(t)
	for partition := range int32(partitions) {
		l.Assign("t", partition, 0)
	}
	metadata := requests[*sarama.MetadataRequest](cluster)
	var offsets, fetches int
	cost := func(step string, wantOffsets, wantFetches int) {
		t.Helper()
		if err := l.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		o, f := requests[*sarama.OffsetRequest](cluster)-offsets, requests[*sarama.FetchRequest](cluster)-fetches
		if o != wantOffsets || f != wantFetches {
			t.Errorf("%s: %d requests for offsets and %d to look, want %d and %d", step, o, f, wantOffsets, wantFetches)
		}
		offsets, fetches = offsets+o, fetches+f
	}
	cost("records left", 2*brokers, brokers)
	if got := r.Metric(catalogue.KafkaConsumerLag, nil); got != partitions {
		t.Errorf("lag %v over all partitions, want %d", got, partitions)
	}
	cost("standing still", 2*brokers, 0)
	for partition := range int32(partitions) {
		l.Advance("t", partition, 1, time.Time{})
	}
	cost("all processed", brokers, 0)
	if n := requests[*sarama.MetadataRequest](cluster) - metadata; n != 0 {
		t.Errorf("%d requests for metadata, want none", n)
	}
	for range 100 {
		r.Metric(catalogue.KafkaConsumerLag, nil)
	}
	if n := requests[*sarama.OffsetRequest](cluster) + requests[*sarama.FetchRequest](cluster) - offsets - fetches; n != 0 {
		t.Errorf("%d requests by scrapes", n)
	}
}

func TestLagSurvivesTheBroker(t *testing.T) {
	cluster := newMockCluster(t, 1, 1, 5)
	r, l := cluster.lagOn(t)
	l.Assign("t", 0, 2)
	if err := l.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	cluster.close()
	if err := l.poll(t.Context()); err == nil {
		t.Error("a poll without a broker succeeds")
	}
	if got := r.Metric(catalogue.KafkaConsumerLag, nil); got != 3 {
		t.Errorf("lag %v without a broker, want the last, 3", got)
	}
}

func TestLagOfAnUnknownTopicIsAnError(t *testing.T) {
	r, l := newMockCluster(t, 1, 1, 1).lagOn(t)
	l.Assign("nowhere", 9, 0)
	l.Assign("t", 0, 0)
	if err := l.poll(t.Context()); err == nil {
		t.Error("a partition without leader is not reported")
	}
	if got := r.Metric(catalogue.KafkaConsumerLag, map[string]string{"topic": "t"}); got != 1 {
		t.Errorf("lag %v of the partition that is there, want 1", got)
	}
}

// knownLeaders is a client that knows the leader of each partition, whose id is the partition's.
type knownLeaders struct {
	sarama.Client
	brokers []*sarama.Broker
}

func newKnownLeaders(n int32) *knownLeaders {
	var metadata sarama.MetadataResponse
	for id := range n {
		metadata.AddBroker("nowhere:9092", id)
	}
	return &knownLeaders{brokers: metadata.Brokers}
}

func (c *knownLeaders) WritablePartitions(string) (ids []int32, err error) {
	for _, broker := range c.brokers {
		ids = append(ids, broker.ID())
	}
	return ids, nil
}

func (c *knownLeaders) Leader(_ string, partition int32) (*sarama.Broker, error) {
	return c.brokers[partition], nil
}

// A broker that takes requests and answers none delays a poll by its timeout, and keeps no other broker's answer back.
func TestAStuckBrokerIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &brokerLogs{client: newKnownLeaders(2)}
		release := make(chan struct{})
		ask := func(leader *sarama.Broker, theirs []TopicPartition) (map[TopicPartition]int64, error) { //nolint:unparam // queryLeaders wants an error
			if leader.ID() == 0 {
				<-release
			}
			return map[TopicPartition]int64{theirs[0]: 5}, nil
		}
		poll := func() (map[TopicPartition]int64, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return queryLeaders(ctx, logs, []TopicPartition{{"t", 0}, {"t", 1}}, ask)
		}
		for step, want := range []error{context.DeadlineExceeded, errPending} {
			start := time.Now()
			found, err := poll()
			if !errors.Is(err, want) || len(found) != 1 || found[TopicPartition{"t", 1}] != 5 {
				t.Errorf("poll %d beside a stuck broker: %v, %v; want the other's answer and %v", step, found, err, want)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("poll %d takes %v", step, took)
			}
		}
		close(release)
		logs.calls.all.Wait()
		if found, err := poll(); err != nil || len(found) != 2 {
			t.Errorf("%v, %v of two brokers that answer", found, err)
		}
	})
}

func TestACallThatHangsIsLeftAlone(t *testing.T) {
	var c calls
	release, started := make(chan struct{}), make(chan struct{})
	impatient, cancel := context.WithCancel(t.Context())
	hang := func() (int, error) {
		close(started)
		cancel()
		<-release
		return 1, nil
	}
	if got, err := call(impatient, &c, 1, hang); !errors.Is(err, context.Canceled) || got != 0 {
		t.Errorf("%d, %v of a call that hangs", got, err)
	}
	<-started
	answer := func() (int, error) { return 2, errors.New("partly") }
	if _, err := call(t.Context(), &c, 1, answer); !errors.Is(err, errPending) {
		t.Errorf("a second call beside one that hangs: %v", err)
	}
	if got, err := call(t.Context(), &c, 2, answer); got != 2 || err == nil || err.Error() != "partly" {
		t.Errorf("%d, %v of another broker", got, err)
	}
	close(release)
	c.all.Wait()
	if got, err := call(t.Context(), &c, 1, func() (int, error) { return 3, nil }); got != 3 || err != nil {
		t.Errorf("%d, %v after the call came back", got, err)
	}
}

func TestErrorsOfManyPartitionsAreBounded(t *testing.T) {
	var failures partitionErrors
	for partition := range int32(10_000) {
		failures.add(TopicPartition{"t", partition}, sarama.ErrNotLeaderForPartition)
	}
	err := failures.err()
	if !errors.Is(err, sarama.ErrNotLeaderForPartition) {
		t.Errorf("the cause is lost: %v", err)
	}
	if text := err.Error(); len(text) > 500 || !strings.Contains(text, "t/0: ") || !strings.HasSuffix(text, "and 9997 more") {
		t.Errorf("error %q", text)
	}
	if len(failures.topics) != 1 {
		t.Errorf("topics %v, want one", failures.topics)
	}
}

// batchTime is the first timestamp of every batch here; a record is as many seconds later as its offset in it.
func batchTime() time.Time { return time.Unix(1_800_000_000, 0) }

// batch makes a batch of n records whose last offset is last, so that compaction may have taken records out at
// its end.
func batch(first, last int64, n int, changes ...func(*sarama.RecordBatch)) *sarama.Records {
	b := &sarama.RecordBatch{
		FirstOffset: first, LastOffsetDelta: int32(last - first), FirstTimestamp: batchTime(), ProducerID: -1,
		MaxTimestamp: batchTime().Add(time.Hour),
	}
	for i := range n {
		b.Records = append(b.Records, &sarama.Record{OffsetDelta: int64(i), TimestampDelta: time.Duration(i) * time.Second})
	}
	for _, change := range changes {
		change(b)
	}
	return &sarama.Records{RecordBatch: b}
}

func producer(id int64) func(*sarama.RecordBatch) {
	return func(b *sarama.RecordBatch) { b.ProducerID, b.IsTransactional = id, true }
}

// marker makes the end of a transaction of producer 1; KIP-98 names the types: 0 for an abort, 1 for a commit.
func marker(offset int64, kind byte) *sarama.Records {
	return batch(offset, offset, 1, producer(1), func(b *sarama.RecordBatch) {
		b.Control, b.Records[0].Key = true, []byte{0, 0, 0, kind}
	})
}

const (
	abort  = 0
	commit = 1
)

func TestFirstRecord(t *testing.T) {
	none := func(offset int64) FirstRecord { return FirstRecord{Offset: offset} }
	at := func(offset int64, after time.Duration) FirstRecord {
		return FirstRecord{Offset: offset, Found: true, Timestamp: batchTime().Add(after)}
	}
	abortedFrom := func(first, producerID int64) []*sarama.AbortedTransaction {
		return []*sarama.AbortedTransaction{{FirstOffset: first, ProducerID: producerID}}
	}
	tests := []struct {
		name        string
		from        int64
		records     []*sarama.Records
		aborted     []*sarama.AbortedTransaction
		uncommitted bool
		want        FirstRecord
	}{
		{name: "nothing returned", from: 7, want: none(7)},
		{name: "a record", from: 7, records: []*sarama.Records{batch(7, 7, 1)}, want: at(7, 0)},
		{name: "inside a batch", from: 7, records: []*sarama.Records{batch(5, 9, 5)}, want: at(7, 2*time.Second)},
		{name: "compacted at a batch's end", from: 7, records: []*sarama.Records{batch(5, 9, 2), batch(10, 10, 1)}, want: at(10, 0)},
		{name: "compacted between batches", from: 7, records: []*sarama.Records{batch(20, 21, 2)}, want: at(20, 0)},
		{name: "compacted to the end", from: 7, records: []*sarama.Records{batch(5, 9, 2)}, want: none(10)},
		{name: "a commit", from: 7, records: []*sarama.Records{marker(7, commit)}, want: none(8)},
		{name: "a record after a commit", from: 7, records: []*sarama.Records{marker(7, commit), batch(8, 9, 2)}, want: at(8, 0)},
		{name: "an unknown kind of marker", from: 7, records: []*sarama.Records{marker(7, 9)}, want: none(8)},
		{
			name: "committed", from: 7, want: at(7, 0),
			records: []*sarama.Records{batch(7, 8, 2, producer(1)), marker(9, commit)},
		},
		{
			name: "aborted", from: 7, want: none(10), aborted: abortedFrom(7, 1),
			records: []*sarama.Records{batch(7, 8, 2, producer(1)), marker(9, abort)},
		},
		{
			name: "aborted, begun before", from: 7, want: none(10), aborted: abortedFrom(2, 1),
			records: []*sarama.Records{batch(7, 8, 2, producer(1)), marker(9, abort)},
		},
		{
			name: "aborted, read uncommitted", from: 7, want: at(7, 0), uncommitted: true, aborted: abortedFrom(7, 1),
			records: []*sarama.Records{batch(7, 8, 2, producer(1)), marker(9, abort)},
		},
		{
			name: "a marker, read uncommitted", from: 9, want: none(10), uncommitted: true,
			records: []*sarama.Records{batch(7, 8, 2, producer(1)), marker(9, abort)},
		},
		{
			name: "another producer inside an aborted transaction", from: 7, want: at(8, 0), aborted: abortedFrom(7, 1),
			records: []*sarama.Records{batch(7, 7, 1, producer(1)), batch(8, 8, 1, producer(2)), marker(9, abort)},
		},
		{
			name: "without a transaction inside an aborted one", from: 7, want: at(8, 0), aborted: abortedFrom(7, 1),
			records: []*sarama.Records{batch(7, 7, 1, producer(1)), batch(8, 8, 1), marker(9, abort)},
		},
		{
			name: "the same producer without a transaction", from: 7, want: at(8, 0), aborted: abortedFrom(7, 1),
			records: []*sarama.Records{
				batch(7, 7, 1, producer(1)),
				batch(8, 8, 1, producer(1), func(b *sarama.RecordBatch) { b.IsTransactional = false }),
			},
		},
		{
			name: "a commit after an abort", from: 7, want: at(9, 0), aborted: abortedFrom(7, 1),
			records: []*sarama.Records{batch(7, 7, 1, producer(1)), marker(8, abort), batch(9, 9, 1, producer(1)), marker(10, commit)},
		},
		{
			name: "two aborts out of order", from: 7, want: none(11),
			aborted: []*sarama.AbortedTransaction{{FirstOffset: 9, ProducerID: 1}, {FirstOffset: 7, ProducerID: 1}},
			records: []*sarama.Records{
				batch(7, 7, 1, producer(1)), marker(8, abort), batch(9, 9, 1, producer(1)), marker(10, abort),
			},
		},
		{
			name: "cut off", from: 7, want: none(8),
			records: []*sarama.Records{marker(7, commit), batch(8, 9, 0, func(b *sarama.RecordBatch) { b.PartialTrailingRecord = true })},
		},
		{name: "an old format", from: 7, want: none(7), records: []*sarama.Records{{MsgSet: &sarama.MessageSet{}}, batch(9, 9, 1)}},
		{
			name: "the broker's time", from: 7, want: at(7, time.Hour),
			records: []*sarama.Records{batch(7, 7, 1, func(b *sarama.RecordBatch) { b.LogAppendTime = true })},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			isolation := sarama.ReadCommitted
			if test.uncommitted {
				isolation = sarama.ReadUncommitted
			}
			block := &sarama.FetchResponseBlock{RecordsSet: test.records, AbortedTransactions: test.aborted}
			if got := firstRecord(block, test.from, isolation); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}
