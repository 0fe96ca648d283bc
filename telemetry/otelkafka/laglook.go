package otelkafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

// How much of the logs is looked at in one request, in bytes. A broker exceeds it by at most one batch.
const (
	lookPartition = 64 << 10
	lookRequest   = 1 << 20
)

// FirstRecords implements [RecordFinder] by a Fetch that waits for nothing. Brokers older than 0.11 are not asked:
// their logs hold nothing but records.
func (b *brokerLogs) FirstRecords(
	ctx context.Context, from map[TopicPartition]int64,
) (map[TopicPartition]FirstRecord, error) {
	if !b.client.Config().Version.IsAtLeast(sarama.V0_11_0_0) {
		return nil, nil
	}
	partitions := make([]TopicPartition, 0, len(from))
	for p := range from {
		partitions = append(partitions, p)
	}
	return askLeaders(ctx, b, partitions, func(leader *sarama.Broker, theirs []TopicPartition) (map[TopicPartition]FirstRecord, error) {
		return b.fetch(leader, theirs, from)
	})
}

// fetch sends one request. A partition of which the broker returned nothing, for lack of room, is left out.
func (b *brokerLogs) fetch(
	leader *sarama.Broker, partitions []TopicPartition, from map[TopicPartition]int64,
) (map[TopicPartition]FirstRecord, error) {
	config := b.client.Config()
	request := &sarama.FetchRequest{Version: 4, MaxBytes: lookRequest, Isolation: config.Consumer.IsolationLevel}
	if config.Version.IsAtLeast(sarama.V2_1_0_0) {
		request.Version, request.SessionEpoch = 10, -1 // with zstd, without a session
	}
	for _, p := range partitions {
		request.AddBlock(p.Topic, p.Partition, from[p], lookPartition, -1)
	}
	response, err := leader.Fetch(request)
	if err != nil {
		return nil, b.disconnect(leader, partitions, fmt.Errorf("look for records: %w", err))
	}
	found, failures := make(map[TopicPartition]FirstRecord, len(partitions)), partitionErrors{}
	for _, p := range partitions {
		block := response.GetBlock(p.Topic, p.Partition)
		switch {
		case block == nil && response.ThrottleTime > 0: // a quota's way to say: later
		case block == nil:
			failures.add(p, fmt.Errorf("look for records: %w", sarama.ErrIncompleteResponse))
		case errors.Is(block.Err, sarama.ErrOffsetOutOfRange): // the log was cut since; the next poll sees where
		case block.Err != sarama.ErrNoError:
			failures.add(p, fmt.Errorf("look for records: %w", block.Err))
		default:
			if first := firstRecord(block, from[p], config.Consumer.IsolationLevel); first.Found || first.Offset > from[p] {
				found[p] = first
			}
		}
	}
	return found, b.refresh(&failures)
}

// firstRecord finds the first record at or after an offset that a consumer would be given: no transaction's
// marker and, under read_committed, none of an aborted transaction.
func firstRecord(block *sarama.FetchResponseBlock, from int64, isolation sarama.IsolationLevel) FirstRecord {
	reached, aborted := from, newAborts(block, isolation)
	for _, records := range block.RecordsSet {
		batch := records.RecordBatch
		if batch == nil || batch.PartialTrailingRecord { // a format without transactions, or cut off
			break
		}
		aborted.enter(batch)
		if !batch.Control && !aborted.hides(batch) {
			for _, record := range batch.Records {
				if offset := batch.FirstOffset + record.OffsetDelta; offset >= from {
					first := FirstRecord{Offset: offset, Found: true, Timestamp: batch.FirstTimestamp.Add(record.TimestampDelta)}
					if batch.LogAppendTime {
						first.Timestamp = batch.MaxTimestamp
					}
					return first
				}
			}
		}
		reached = max(reached, batch.LastOffset()+1)
	}
	return FirstRecord{Offset: reached}
}

// aborts follows through a log which producers are inside a transaction that they will abort.
type aborts struct {
	ahead  []*sarama.AbortedTransaction // by first offset
	inside map[int64]bool               // producer ids
}

func newAborts(block *sarama.FetchResponseBlock, isolation sarama.IsolationLevel) *aborts {
	a := &aborts{inside: make(map[int64]bool)}
	if isolation == sarama.ReadCommitted {
		a.ahead = slices.Clone(block.AbortedTransactions)
		slices.SortFunc(a.ahead, func(x, y *sarama.AbortedTransaction) int { return cmp.Compare(x.FirstOffset, y.FirstOffset) })
	}
	return a
}

// enter takes the transactions that begin before the batch ends, and closes the one that the batch ends.
func (a *aborts) enter(batch *sarama.RecordBatch) {
	for len(a.ahead) > 0 && a.ahead[0].FirstOffset <= batch.LastOffset() {
		a.inside[a.ahead[0].ProducerID] = true
		a.ahead = a.ahead[1:]
	}
	if isAbort(batch) {
		delete(a.inside, batch.ProducerID)
	}
}

func (a *aborts) hides(batch *sarama.RecordBatch) bool {
	return batch.IsTransactional && a.inside[batch.ProducerID]
}

// isAbort reads a marker's key: two bytes of version, two of type, which is 0 for an abort (KIP-98).
func isAbort(batch *sarama.RecordBatch) bool {
	if !batch.Control || len(batch.Records) == 0 {
		return false
	}
	key := batch.Records[0].Key
	return len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}
