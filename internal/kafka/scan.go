package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/record"
)

// Received is a record in our form.
func Received(m *sarama.ConsumerMessage) record.Record {
	return received(record.At(m.Topic, m.Partition, m.Offset), m.Key, m.Value, m.Headers, m.Timestamp)
}

func received(at record.Place, key, value []byte, headers []*sarama.RecordHeader, written time.Time) record.Record {
	r := record.Record{Place: at, Key: key, Value: value, Time: written, Headers: make([]record.Header, 0, len(headers))}
	for _, h := range headers {
		if h != nil {
			r.Headers = append(r.Headers, record.Header{Key: string(h.Key), Value: h.Value})
		}
	}
	return r
}

// Span is the part of a partition's log that a [Scan] reads: Start ≤ offset < End.
type Span struct {
	record.Partition
	Start, End int64
}

// Length is how many offsets the spans cover: not all of them need have records.
func Length(spans []Span) (n int64) {
	for _, s := range spans {
		n += s.End - s.Start
	}
	return n
}

// Bounds returns what the topics' logs hold at this moment for those who read
// what is committed: they end where a transaction is open, if one is. The topics
// are asked for in the order given.
func Bounds(ctx context.Context, client *Client, topics ...string) (spans []Span, err error) {
	err = client.cfg.patiently(ctx, func() error {
		spans = nil
		// What was added since shall not be missed.
		if err := client.RefreshMetadata(topics...); err != nil {
			return fmt.Errorf("list partitions: %w", err)
		}
		admin, err := sarama.NewClusterAdminFromClient(client.Client) // not closed: the client is the caller's
		if err != nil {
			return fmt.Errorf("read bounds of logs: %w", err)
		}
		for _, topic := range topics {
			of, err := topicBounds(client, admin, topic)
			if err != nil {
				return err
			}
			spans = append(spans, of...)
		}
		return nil
	})
	return spans, err
}

// topicBounds asks for the ends before the starts: retention may only make a
// span shorter.
func topicBounds(client *Client, admin sarama.ClusterAdmin, topic string) ([]Span, error) {
	ids, err := client.Partitions(topic)
	if err != nil {
		return nil, fmt.Errorf("list partitions of %s: %w", topic, err)
	}
	ends, err := offsets(admin, sarama.ReadCommitted, topic, ids, sarama.OffsetNewest)
	if err != nil {
		return nil, fmt.Errorf("read the end of %s: %w", topic, err)
	}
	starts, err := offsets(admin, sarama.ReadCommitted, topic, ids, sarama.OffsetOldest)
	if err != nil {
		return nil, fmt.Errorf("read the start of %s: %w", topic, err)
	}
	spans := make([]Span, len(ids))
	for i, id := range ids {
		spans[i] = Span{record.Partition{Topic: topic, ID: id}, starts[id], max(starts[id], ends[id])}
	}
	return spans, nil
}

// offsets asks the partitions' leaders, each with one request. sarama's own
// GetOffset knows nothing of transactions.
func offsets(admin sarama.ClusterAdmin, isolation sarama.IsolationLevel, topic string, ids []int32, at int64) (map[int32]int64, error) {
	wanted := make(map[int32]int64, len(ids))
	for _, id := range ids {
		wanted[id] = at
	}
	answers, err := admin.ListOffsets(map[string]map[int32]int64{topic: wanted}, &sarama.ListOffsetsOptions{IsolationLevel: isolation})
	if err != nil {
		return nil, err
	}
	out := make(map[int32]int64, len(ids))
	for _, id := range ids {
		answer := answers[topic][id]
		switch {
		case answer == nil:
			return nil, fmt.Errorf("partition %d: %w", id, sarama.ErrIncompleteResponse)
		case answer.Err != nil && !errors.Is(answer.Err, sarama.ErrNoError):
			return nil, fmt.Errorf("partition %d: %w", id, answer.Err)
		}
		out[id] = answer.Offset
	}
	return out, nil
}

// OffsetsAt returns, for each of the spans, the first offset at which a record
// of that time or a later one stands, or the span's end.
func OffsetsAt(ctx context.Context, client *Client, spans []Span, at time.Time) (map[record.Partition]int64, error) {
	byTopic := map[string][]int32{}
	for _, s := range spans {
		byTopic[s.Topic] = append(byTopic[s.Topic], s.ID)
	}
	found := make(map[record.Partition]int64, len(spans))
	err := client.cfg.patiently(ctx, func() error {
		admin, err := sarama.NewClusterAdminFromClient(client.Client)
		if err != nil {
			return err
		}
		for topic, ids := range byTopic {
			of, err := offsets(admin, sarama.ReadCommitted, topic, ids, max(at.UnixMilli(), 0))
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", topic, err), client.RefreshMetadata(topic))
			}
			for id, offset := range of {
				found[record.Partition{Topic: topic, ID: id}] = offset
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the offsets of a time: %w", err)
	}
	for _, s := range spans {
		if found[s.Partition] < 0 || found[s.Partition] > s.End { // all records are older
			found[s.Partition] = s.End
		}
	}
	return found, nil
}

// Log is what can be read of a cluster's topics outside any consumer group.
type Log interface {
	// Bounds returns what the topics' logs hold at this moment, as [Bounds] does.
	Bounds(ctx context.Context, topics ...string) ([]Span, error)
	// Ends returns where the topics' logs end at this moment for those who read
	// what is committed. It asks once.
	Ends(ctx context.Context, topics ...string) (map[record.Partition]int64, error)
	// Written returns where the topics' logs end at this moment, whether what
	// stands there can be read yet or an open transaction hides it. It asks once.
	Written(ctx context.Context, topics ...string) (map[record.Partition]int64, error)
	// Scan reads the spans, as [Scan] does.
	Scan(ctx context.Context, spans []Span, read func(record.Record) error) error
	// ScanHoles reads the spans, as [ScanHoles] does.
	ScanHoles(ctx context.Context, spans []Span, read func(record.Record) error, hole func(Span)) error
}

// Cluster is the [Log] of a cluster.
type Cluster struct {
	Config Config
	Client *Client
}

// Bounds implements [Log].
func (c Cluster) Bounds(ctx context.Context, topics ...string) ([]Span, error) {
	return Bounds(ctx, c.Client, topics...)
}

// Scan implements [Log].
func (c Cluster) Scan(ctx context.Context, spans []Span, read func(record.Record) error) error {
	return Scan(ctx, c.Config, spans, read)
}

// ScanHoles implements [Log].
func (c Cluster) ScanHoles(ctx context.Context, spans []Span, read func(record.Record) error, hole func(Span)) error {
	return ScanHoles(ctx, c.Config, spans, read, hole)
}

const (
	// fetchBytes is about how much of a partition is read at a time.
	fetchBytes = 1 << 20
	// fetchWait is how long a broker holds back the answer where it has nothing.
	fetchWait = 100 * time.Millisecond
)

// Scan reads the spans, outside any consumer group, and gives their committed
// records to read: in order within a partition, several partitions at a time. It
// returns when all has been read, or with read's first error. Brokers that
// go away meanwhile are waited for with the patience of a start.
func Scan(ctx context.Context, cfg Config, spans []Span, read func(record.Record) error) error {
	return ScanHoles(ctx, cfg, spans, read, func(Span) {})
}

// ScanHoles is [Scan], and tells the holes: offsets at which the log no longer has
// what it had, though it has what stands behind them. What transactions have
// aborted, and their markers, are none. A hole comes after the records before it
// and before those behind it; several partitions are told of at the same time.
func ScanHoles(ctx context.Context, cfg Config, spans []Span, read func(record.Record) error, hole func(Span)) (err error) {
	settings := cfg.base()
	settings.Metadata.Full = false
	client := &Client{cfg: cfg}
	if client.Client, err = cfg.dial(settings); err != nil {
		return fmt.Errorf("connect reader: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := cfg.patiently(ctx, func() error { return openLeaders(client, spans) }); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range spans {
		group.Go(func() error { return client.scan(ctx, s, read, hole) })
	}
	return group.Wait()
}

// openLeaders connects to the brokers that lead the spans' partitions, one
// after the other. Of two goroutines that open one broker at the same moment,
// sarama may tell the second that it is not connected.
func openLeaders(client sarama.Client, spans []Span) error {
	for _, s := range spans {
		leader, err := client.Leader(s.Topic, s.ID)
		if err != nil {
			return fmt.Errorf("find the leader of %s: %w", s.Partition, err)
		}
		_ = leader.Open(client.Config()) // that it is open already is fine
		if _, err := leader.Connected(); err != nil {
			return fmt.Errorf("connect to the leader of %s: %w", s.Partition, err)
		}
	}
	return nil
}

// Holds says whether any record stands in the span, and not only the markers
// and the aborted records of transactions.
func (c *Client) Holds(ctx context.Context, s Span) (bool, error) {
	one := errors.New("a record")
	err := c.scan(ctx, s, func(record.Record) error { return one }, func(Span) {})
	if errors.Is(err, one) {
		return true, nil
	}
	return false, err
}

// scan reads one span. What a log ends with may be no record, so it counts
// offsets that were passed, and not records.
func (c *Client) scan(ctx context.Context, s Span, read func(record.Record) error, hole func(Span)) error {
	for next := s.Start; next < s.End; {
		var piece fetched
		if err := c.cfg.patiently(ctx, func() (err error) {
			piece, err = c.fetch(s.Partition, next)
			return err
		}); err != nil {
			return fmt.Errorf("read %s from %d: %w", s.Partition, next, err)
		}
		if err := piece.give(ctx, s, read, hole); err != nil {
			return err
		}
		next = piece.next
	}
	return nil
}

// fetched is a piece of a log.
type fetched struct {
	records []record.Record // those that are committed
	holes   []Span          // offsets of the piece that have neither records nor markers
	next    int64           // the offset after the piece
}

// give gives what the span has of the piece, in order.
func (f fetched) give(ctx context.Context, s Span, read func(record.Record) error, hole func(Span)) error {
	tell := func(before int64) {
		for ; len(f.holes) > 0 && f.holes[0].Start < before; f.holes = f.holes[1:] {
			hole(Span{s.Partition, f.holes[0].Start, min(f.holes[0].End, s.End)})
		}
	}
	for _, r := range f.records {
		if r.Offset >= s.End {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		tell(r.Offset)
		if err := read(r); err != nil {
			return err
		}
	}
	tell(s.End)
	return nil
}

// missing notes that the piece has nothing from where it has come to up to an
// offset.
func (f *fetched) missing(p record.Partition, before int64) {
	if f.next < before {
		f.holes = append(f.holes, Span{p, f.next, before})
		f.next = before
	}
}

// errNothing: the log has nothing where it said that it has.
var errNothing = errors.New("the log gives nothing at this offset")

// fetch reads a piece of a log, one batch at least.
func (c *Client) fetch(p record.Partition, from int64) (fetched, error) {
	piece, err := c.fetchBytes(p, from, fetchBytes)
	if !errors.Is(err, errDecode) {
		return piece, err
	}
	return c.first(p, from)
}

// fetchBytes reads so much of a log, one batch at least.
func (c *Client) fetchBytes(p record.Partition, from int64, bytes int32) (fetched, error) {
	leader, err := c.Leader(p.Topic, p.ID)
	if err != nil {
		return fetched{}, fmt.Errorf("find leader: %w", err)
	}
	request := &sarama.FetchRequest{
		Version: 10, SessionEpoch: -1, // with zstd, without a session
		MinBytes: 1, MaxBytes: bytes, Isolation: sarama.ReadCommitted,
		MaxWaitTime: int32(fetchWait.Milliseconds()), //nolint:gosec // below a second
	}
	request.AddBlock(p.Topic, p.ID, from, bytes, -1)
	response, err := leader.Fetch(request)
	if err != nil {
		if _, alive := leader.ApiVersions(&sarama.ApiVersionsRequest{}); alive == nil { // the answer came
			return fetched{}, fmt.Errorf("%w: %w", errDecode, err)
		}
		_ = leader.Close() // it is opened again by the next look for the leader
		return fetched{}, errors.Join(err, c.RefreshMetadata(p.Topic))
	}
	block := response.GetBlock(p.Topic, p.ID)
	switch {
	case block == nil:
		return fetched{}, sarama.ErrIncompleteResponse
	case errors.Is(block.Err, sarama.ErrOffsetOutOfRange):
		return fetched{}, fmt.Errorf("the log was cut meanwhile: %w", block.Err)
	case block.Err != sarama.ErrNoError:
		return fetched{}, errors.Join(block.Err, c.RefreshMetadata(p.Topic))
	}
	piece, err := committed(p, from, block)
	switch {
	case err != nil || piece.next > from:
	case block.Partial || len(block.RecordsSet) > 0: // brokers give the first batch as a whole
		err = fmt.Errorf("%w: it ends within a record", errDecode)
	default:
		err = errNothing
	}
	return piece, err
}

// committed takes from a fetched block what a reader of committed records is to
// see from an offset on: no transaction's marker, and none of the records of a
// transaction that was aborted. The broker names those by their producer and
// their first offset (KIP-98).
func committed(p record.Partition, from int64, block *sarama.FetchResponseBlock) (fetched, error) {
	piece := fetched{next: from}
	ahead := slices.Clone(block.AbortedTransactions)
	slices.SortFunc(ahead, func(a, b *sarama.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	aborting := map[int64]bool{} // producers inside a transaction that they will abort
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil {
			return fetched{}, errors.New("the log has a format without headers, older than Kafka 0.11")
		}
		if batch.PartialTrailingRecord {
			break
		}
		for ; len(ahead) > 0 && ahead[0].FirstOffset <= batch.LastOffset(); ahead = ahead[1:] {
			aborting[ahead[0].ProducerID] = true
		}
		piece.missing(p, batch.FirstOffset)
		switch {
		case batch.Control && batch.ProducerID < 0:
			// No transaction's: what the embedded broker leaves in place of
			// records that are lost.
			piece.missing(p, batch.LastOffset()+1)
		case batch.Control && endsInAbort(batch):
			delete(aborting, batch.ProducerID)
		case batch.Control, batch.IsTransactional && aborting[batch.ProducerID]:
		default:
			if err := piece.add(p, batch); err != nil {
				return fetched{}, err
			}
		}
		piece.next = max(piece.next, batch.LastOffset()+1)
	}
	return piece, nil
}

// endsInAbort reads a marker's key: two bytes of version, two of type, which is
// 0 for an abort.
func endsInAbort(marker *sarama.RecordBatch) bool {
	if len(marker.Records) == 0 || len(marker.Records[0].Key) < 4 {
		return false
	}
	return binary.BigEndian.Uint16(marker.Records[0].Key[2:]) == 0
}

// add takes a batch's records, from where the piece has come to on. A batch
// that lacks some of those that it had has holes, too.
func (f *fetched) add(p record.Partition, batch *sarama.RecordBatch) error {
	f.records = slices.Grow(f.records, len(batch.Records))
	for _, r := range batch.Records {
		offset := batch.FirstOffset + r.OffsetDelta
		if r.OffsetDelta < 0 || offset > batch.LastOffset() {
			return fmt.Errorf("%w: it ends at offset %d and has a record at %d", errDecode, batch.LastOffset(), offset)
		}
		if offset < f.next {
			continue
		}
		f.missing(p, offset)
		written := batch.FirstTimestamp.Add(r.TimestampDelta)
		if batch.LogAppendTime {
			written = batch.MaxTimestamp
		}
		f.records = append(f.records, received(record.Place{Partition: p, Offset: offset}, r.Key, r.Value, r.Headers, written))
		f.next = offset + 1
	}
	f.missing(p, batch.LastOffset()+1)
	return nil
}
