package otelkafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
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
	// part of a log only, may return both some records and an error for the rest, and returns soon after ctx
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

// brokerLogs queries the partitions' leaders, with one request each.
type brokerLogs struct {
	client sarama.Client
	calls  calls
}

// Offsets implements [OffsetSource] by ListOffsets. Under read_committed, the end is the last stable offset.
func (b *brokerLogs) Offsets(
	ctx context.Context, at int64, partitions []TopicPartition,
) (map[TopicPartition]int64, error) {
	return queryLeaders(ctx, b, partitions, func(leader *sarama.Broker, theirs []TopicPartition) (map[TopicPartition]int64, error) {
		return b.listOffsets(leader, at, theirs)
	})
}

// queryLeaders groups the partitions by leader and queries all leaders at once, as far as ctx and the calls still
// under way allow. Meanwhile the client looks for the leaders that it does not know.
func queryLeaders[A any](
	ctx context.Context, b *brokerLogs, partitions []TopicPartition,
	query func(*sarama.Broker, []TopicPartition) (map[TopicPartition]A, error),
) (map[TopicPartition]A, error) {
	known, err := call(ctx, &b.calls, leadersCall, func() (leaders, error) { return b.leaders(partitions), nil })
	if err != nil {
		return nil, fmt.Errorf("find leaders: %w", err)
	}
	type result struct {
		found map[TopicPartition]A
		err   error
	}
	results := make(chan result, len(known.partitions)+1)
	for leader, theirs := range known.partitions {
		go func() {
			found, err := call(ctx, &b.calls, leader.ID(), func() (map[TopicPartition]A, error) { return query(leader, theirs) })
			if err != nil {
				err = fmt.Errorf("query broker %d: %w", leader.ID(), err)
			}
			results <- result{found, err}
		}()
	}
	go func() { results <- result{err: b.findLeaders(ctx, known.failures)} }()
	all := make(map[TopicPartition]A, len(partitions))
	for range cap(results) {
		r := <-results
		err = errors.Join(err, r.err)
		maps.Copy(all, r.found)
	}
	return all, err
}

// leaders is which broker leads which partitions, and what has no leader.
type leaders struct {
	partitions map[*sarama.Broker][]TopicPartition
	failures   *partitionErrors
}

// leaders groups the partitions by leader, from what the client remembers.
func (b *brokerLogs) leaders(partitions []TopicPartition) leaders {
	known := leaders{make(map[*sarama.Broker][]TopicPartition), &partitionErrors{}}
	writable := make(map[string]map[int32]bool)
	for _, p := range partitions {
		if writable[p.Topic] == nil {
			writable[p.Topic] = make(map[int32]bool)
			ids, err := b.client.WritablePartitions(p.Topic)
			if err != nil {
				known.failures.add(p, fmt.Errorf("find leaders: %w", err))
				continue
			}
			for _, id := range ids {
				writable[p.Topic][id] = true
			}
		}
		if !writable[p.Topic][p.Partition] { // the client would ask for each such partition on its own
			known.failures.add(p, fmt.Errorf("find leader: %w", sarama.ErrLeaderNotAvailable))
			continue
		}
		leader, err := b.client.Leader(p.Topic, p.Partition)
		if err != nil {
			known.failures.add(p, fmt.Errorf("find leader: %w", err))
			continue
		}
		known.partitions[leader] = append(known.partitions[leader], p)
	}
	return known
}

// findLeaders reports what has no leader and has the client ask for it, in one request.
func (b *brokerLogs) findLeaders(ctx context.Context, failures *partitionErrors) error {
	if failures.count == 0 {
		return nil
	}
	_, err := call(ctx, &b.calls, metadataCall, func() (none struct{}, err error) { return none, b.refresh(failures) })
	if errors.Is(err, errPending) {
		return failures.err() // it is being looked for
	}
	return err
}

// listOffsets sends one request.
func (b *brokerLogs) listOffsets(
	leader *sarama.Broker, at int64, partitions []TopicPartition,
) (map[TopicPartition]int64, error) {
	config := b.client.Config()
	request := sarama.NewOffsetRequest(config.Version)
	request.IsolationLevel = config.Consumer.IsolationLevel
	for _, p := range partitions {
		request.AddBlock(p.Topic, p.Partition, at, 1)
	}
	response, err := leader.GetAvailableOffsets(request)
	if err != nil {
		return nil, b.disconnect(leader, partitions, fmt.Errorf("list offsets: %w", err))
	}
	offsets, failures := make(map[TopicPartition]int64, len(partitions)), partitionErrors{}
	for _, p := range partitions {
		offset, err := blockOffset(response.GetBlock(p.Topic, p.Partition))
		if err != nil {
			failures.add(p, fmt.Errorf("list offsets: %w", err))
			continue
		}
		offsets[p] = offset
	}
	return offsets, b.refresh(&failures)
}

// disconnect closes a connection that failed, as sarama does, so that the next use opens it again, and has the
// client find out whether its partitions have another leader by now.
func (b *brokerLogs) disconnect(leader *sarama.Broker, partitions []TopicPartition, err error) error {
	_ = leader.Close() // it may be closed already, which is what is wanted
	failures := partitionErrors{}
	for _, p := range partitions {
		failures.add(p, err)
	}
	return b.refresh(&failures)
}

// refresh has the client read the metadata of the topics that something failed for again, once.
func (b *brokerLogs) refresh(failures *partitionErrors) error {
	if failures.count == 0 {
		return nil
	}
	err := failures.err()
	if refreshErr := b.client.RefreshMetadata(failures.topics...); refreshErr != nil {
		err = errors.Join(err, fmt.Errorf("find leaders again: %w", refreshErr))
	}
	return err
}

// blockOffset reads what the response has of a partition. Versions 0 and later of the response both fill Offsets.
func blockOffset(block *sarama.OffsetResponseBlock) (int64, error) {
	switch {
	case block == nil:
		return 0, sarama.ErrIncompleteResponse
	case block.Err != sarama.ErrNoError:
		return 0, block.Err
	case len(block.Offsets) != 1 || block.Offsets[0] < 0:
		return 0, sarama.ErrOffsetOutOfRange
	}
	return block.Offsets[0], nil
}

// How much of the logs is looked at in one request, in bytes. A broker exceeds it by at most one batch.
const (
	lookPartition = 64 << 10
	lookRequest   = 1 << 20
)

// FirstRecords implements [RecordFinder] by a Fetch that waits for nothing. Brokers older than 0.11 are not queried:
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
	return queryLeaders(ctx, b, partitions, func(leader *sarama.Broker, theirs []TopicPartition) (map[TopicPartition]FirstRecord, error) {
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

// Keys of calls that concern no single broker; brokers' own are not negative.
const (
	leadersCall int32 = -1 - iota
	metadataCall
)

// errPending: an earlier call to the same broker has not come back. Another one would only queue behind it.
var errPending = errors.New("an earlier request is still unanswered")

// calls makes sarama's requests, which know no context, end in time for their caller: a call that outlives the
// caller's patience goes on alone, and keeps its broker from being called again, so that there is at most one for
// each broker. sarama's network timeouts end it. The zero value is ready.
type calls struct {
	mu      sync.Mutex
	running map[int32]bool
	all     sync.WaitGroup
}

// call runs f unless a call with that key is running, and returns its results unless ctx ends first.
func call[A any](ctx context.Context, c *calls, key int32, f func() (A, error)) (A, error) {
	type result struct {
		value A
		err   error
	}
	var none A
	if !c.begin(key) {
		return none, errPending
	}
	done := make(chan result, 1)
	c.all.Go(func() {
		var r result
		r.value, r.err = f()
		c.end(key) // before the caller goes on: it may call again at once
		done <- r
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func (c *calls) begin(key int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[key] {
		return false
	}
	if c.running == nil {
		c.running = make(map[int32]bool)
	}
	c.running[key] = true
	return true
}

func (c *calls) end(key int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, key)
}

// maxReported bounds the partitions named in one error.
const maxReported = 3

// partitionErrors collects failures about partitions in an error of bounded size, and the topics concerned.
type partitionErrors struct {
	count    int
	reported []error
	topics   []string
}

func (e *partitionErrors) add(p TopicPartition, err error) {
	e.count++
	if len(e.reported) < maxReported {
		e.reported = append(e.reported, fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, err))
	}
	if !slices.Contains(e.topics, p.Topic) {
		e.topics = append(e.topics, p.Topic)
	}
}

func (e *partitionErrors) err() error {
	return &joined{count: e.count, errs: e.reported}
}

// joined is a list of errors on one line.
type joined struct {
	count int
	errs  []error
}

func (j *joined) Error() string {
	texts := make([]string, 0, len(j.errs))
	for _, err := range j.errs {
		texts = append(texts, err.Error())
	}
	if more := j.count - len(j.errs); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

func (j *joined) Unwrap() []error { return j.errs }
