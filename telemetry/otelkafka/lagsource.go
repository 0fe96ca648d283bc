package otelkafka

import (
	"context"
	"time"
)

// TopicPartition names one partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// OffsetSource knows where logs start and end.
type OffsetSource interface {
	// Offsets returns, for each partition it can, the log's end (at sarama.OffsetNewest: the offset after the last
	// one that a consumer may read) or start (sarama.OffsetOldest). It may return both some offsets and an error
	// for the rest, and returns soon after ctx has ended.
	Offsets(ctx context.Context, at int64, partitions []TopicPartition) (map[TopicPartition]int64, error)
}

// RecordFinder is what an [OffsetSource] may be as well: it can look into the logs. Without it every offset counts
// as a record, also the markers with which transactions end.
type RecordFinder interface {
	// FirstRecords returns, for each partition it can, the first record at or after an offset. It may look at
	// part of a log only, may return both some answers and an error for the rest, and returns soon after ctx
	// has ended.
	FirstRecords(ctx context.Context, from map[TopicPartition]int64) (map[TopicPartition]FirstRecord, error)
}

// FirstRecord is what a log holds from an offset on.
type FirstRecord struct {
	// Offset is where the record stands. With none found, it is how far was looked: no record stands before it.
	Offset int64
	// Found says that there is a record.
	Found bool
	// Timestamp is the record's; zero if it has none.
	Timestamp time.Time
}
