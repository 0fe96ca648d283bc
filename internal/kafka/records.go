package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/record"
)

// Outgoing is the message in sarama's form.
func Outgoing(m record.Message) *sarama.ProducerMessage {
	pm := &sarama.ProducerMessage{Topic: m.Topic}
	if m.Value != nil { // a null value is not an empty one
		pm.Value = sarama.ByteEncoder(m.Value)
	}
	if m.Key != nil {
		pm.Key = sarama.ByteEncoder(m.Key)
	}
	// One buffer for all names: a batch has thousands of headers.
	length := 0
	for _, h := range m.Headers {
		length += len(h.Key)
	}
	names := make([]byte, 0, length)
	pm.Headers = make([]sarama.RecordHeader, len(m.Headers))
	for i, h := range m.Headers {
		start := len(names)
		names = append(names, h.Key...)
		pm.Headers[i] = sarama.RecordHeader{Key: names[start:len(names):len(names)], Value: h.Value}
	}
	return pm
}

// ErrUnacknowledged: Kafka did not acknowledge the record in time. It may or
// may not be in the log.
var ErrUnacknowledged = errors.New("not acknowledged by Kafka")

// Publisher sends records and waits for their acknowledgement. Records sent
// at the same time travel in one request. It is safe for concurrent use.
type Publisher struct {
	client   sarama.Client
	producer sarama.AsyncProducer
	done     sync.WaitGroup
}

// NewPublisher connects an idempotent producer.
func NewPublisher(cfg Config) (*Publisher, error) {
	client, err := cfg.dial(cfg.producer())
	if err != nil {
		return nil, fmt.Errorf("connect producer: %w", err)
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make producer: %w", err), client.Close())
	}
	p := &Publisher{client: client, producer: producer}
	p.done.Go(func() {
		for m := range producer.Successes() {
			m.Metadata.(chan<- error) <- nil
		}
	})
	p.done.Go(func() {
		for e := range producer.Errors() {
			e.Msg.Metadata.(chan<- error) <- e.Err
		}
	})
	return p, nil
}

// Publish sends one record and returns when Kafka has it, with the record's
// partition and offset filled in. An error wraps [ErrUnacknowledged].
func (p *Publisher) Publish(ctx context.Context, m *sarama.ProducerMessage) error {
	return p.PublishAll(ctx, []*sarama.ProducerMessage{m})
}

// PublishAll sends records in order and returns when Kafka has them all. An
// error wraps [ErrUnacknowledged]; some of the records may then be in the log.
func (p *Publisher) PublishAll(ctx context.Context, records []*sarama.ProducerMessage) error {
	// Room for every answer: one that comes after we gave up is dropped with
	// the channel and blocks nobody.
	answers := make(chan error, len(records))
	for _, m := range records {
		m.Metadata = (chan<- error)(answers)
		select {
		case p.producer.Input() <- m:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnacknowledged, ctx.Err())
		}
	}
	var failed error
	for range records {
		select {
		case err := <-answers:
			if err != nil && failed == nil {
				failed = err
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnacknowledged, ctx.Err())
		}
	}
	if failed != nil {
		return fmt.Errorf("%w: %w", ErrUnacknowledged, failed)
	}
	return nil
}

// Close sends what was accepted and ends the connections.
func (p *Publisher) Close() error {
	p.producer.AsyncClose()
	p.done.Wait()
	return p.client.Close()
}

// Received is a record in our form.
func Received(m *sarama.ConsumerMessage) record.Record {
	r := record.Record{
		Place: record.At(m.Topic, m.Partition, m.Offset),
		Key:   m.Key, Value: m.Value, Time: m.Timestamp,
		Headers: make([]record.Header, 0, len(m.Headers)),
	}
	for _, h := range m.Headers {
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

// Bounds returns what the topics' logs hold at this moment.
func Bounds(client sarama.Client, topics ...string) ([]Span, error) {
	var out []Span
	for _, topic := range topics {
		ids, err := client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("list partitions of %s: %w", topic, err)
		}
		for _, id := range ids {
			s := Span{Partition: record.Partition{Topic: topic, ID: id}}
			if s.Start, err = client.GetOffset(topic, id, sarama.OffsetOldest); err != nil {
				return nil, fmt.Errorf("read the start of %s: %w", s.Partition, err)
			}
			if s.End, err = client.GetOffset(topic, id, sarama.OffsetNewest); err != nil {
				return nil, fmt.Errorf("read the end of %s: %w", s.Partition, err)
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// Log is what can be read of a cluster's topics outside any consumer group.
type Log interface {
	// Bounds returns what the topics' logs hold at this moment, as [Bounds] does.
	Bounds(topics ...string) ([]Span, error)
	// Ends returns where the topics' logs end at this moment, in one round of
	// requests.
	Ends(topics ...string) (map[record.Partition]int64, error)
	// Scan reads the spans, as [Scan] does.
	Scan(ctx context.Context, spans []Span, read func(record.Record) error) error
}

// Cluster is the [Log] of a cluster.
type Cluster struct {
	Config Config
	Client sarama.Client
}

// Bounds implements [Log].
func (c Cluster) Bounds(topics ...string) ([]Span, error) { return Bounds(c.Client, topics...) }

// Scan implements [Log].
func (c Cluster) Scan(ctx context.Context, spans []Span, read func(record.Record) error) error {
	return Scan(ctx, c.Config, spans, read)
}

// Ends implements [Log].
func (c Cluster) Ends(topics ...string) (map[record.Partition]int64, error) {
	var mu sync.Mutex
	ends := map[record.Partition]int64{}
	var group errgroup.Group
	for _, topic := range topics {
		ids, err := c.Client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("list partitions of %s: %w", topic, err)
		}
		for _, id := range ids {
			p := record.Partition{Topic: topic, ID: id}
			group.Go(func() error {
				end, err := c.Client.GetOffset(topic, id, sarama.OffsetNewest)
				if err != nil {
					return fmt.Errorf("read the end of %s: %w", p, err)
				}
				mu.Lock()
				defer mu.Unlock()
				ends[p] = end
				return nil
			})
		}
	}
	return ends, group.Wait()
}

// scanWait is how long a broker holds back the answer to a fetch at the log's
// end. sarama advises against less.
const scanWait = 100 * time.Millisecond

// Scan reads the spans, outside any consumer group, and gives their records to
// read: in order within a partition, several partitions at a time. It returns
// when all has been read, or with the first error.
func Scan(ctx context.Context, cfg Config, spans []Span, read func(record.Record) error) (err error) {
	settings := cfg.consumer()
	// The spans' ends are known: there is nothing to wait for at the log's end,
	// and closing waits for the fetch that is under way.
	settings.Consumer.MaxWaitTime = scanWait
	client, err := cfg.dial(settings)
	if err != nil {
		return fmt.Errorf("connect reader: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := openLeaders(client, spans); err != nil {
		return err
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return fmt.Errorf("make reader: %w", err)
	}
	defer func() { err = errors.Join(err, consumer.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range spans {
		if s.Start < s.End {
			group.Go(func() error { return scanOne(ctx, consumer, s, read) })
		}
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

func scanOne(ctx context.Context, consumer sarama.Consumer, s Span, read func(record.Record) error) (err error) {
	part, err := consumer.ConsumePartition(s.Topic, s.ID, s.Start)
	if err != nil {
		return fmt.Errorf("read %s from %d: %w", s.Partition, s.Start, err)
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	for {
		select {
		case m, ok := <-part.Messages():
			if !ok {
				return fmt.Errorf("read %s: the log ended before offset %d", s.Partition, s.End)
			}
			if m.Offset >= s.End { // the last offsets had no records, such as those of markers
				return nil
			}
			if err := read(Received(m)); err != nil {
				return err
			}
			if m.Offset == s.End-1 {
				return nil
			}
		case failure, ok := <-part.Errors():
			if ok {
				return fmt.Errorf("read %s: %w", s.Partition, failure.Err)
			}
			return fmt.Errorf("read %s: the log ended before offset %d", s.Partition, s.End)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
