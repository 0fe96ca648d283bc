package otelkafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"
)

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
