package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

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

// PartitionOf is the partition, of so many, in which our producers put what has
// this key.
func PartitionOf(key string, partitions int32) (int32, error) {
	return sarama.NewHashPartitioner("").Partition(&sarama.ProducerMessage{Key: sarama.StringEncoder(key)}, partitions)
}

// ErrUnacknowledged: Kafka did not acknowledge the record in time. It may or
// may not be in the log.
var ErrUnacknowledged = errors.New("not acknowledged by Kafka")

// ErrTooLarge: the topic does not take so large a record, or so large a batch
// with it. It is not in the log, and waiting does not change that.
var ErrTooLarge = errors.New("larger than the topic takes")

// TooLargeError is an [ErrTooLarge] that says which of the records were refused.
type TooLargeError struct {
	Records []int // their places among those that were sent, from 0 on
	Err     error
}

// Error implements error.
func (e *TooLargeError) Error() string { return fmt.Sprintf("%v: %v", ErrTooLarge, e.Err) }

// Unwrap returns [ErrTooLarge] and the broker's answer.
func (e *TooLargeError) Unwrap() []error { return []error{ErrTooLarge, e.Err} }

// Publisher sends records and waits for their acknowledgement. Records sent
// at the same time travel in one request. It is safe for concurrent use.
type Publisher struct {
	// Took, where it is set before the first record, is told how long each call took
	// until Kafka had all of its records, or it gave up.
	Took func(time.Duration)

	client   sarama.Client
	producer sarama.AsyncProducer
	outcomes outcomes
	done     sync.WaitGroup
}

// NewPublisher connects an idempotent producer, with the patience of a start. Its
// batches are no larger than any of the topics takes.
func NewPublisher(ctx context.Context, cfg Config, topics ...string) (*Publisher, error) {
	var client sarama.Client
	if err := cfg.patiently(ctx, func() (err error) {
		client, err = cfg.dial(cfg.producer())
		return err
	}); err != nil {
		return nil, fmt.Errorf("connect producer: %w", err)
	}
	sizes := NewSizes(&Client{Client: client, cfg: cfg})
	for _, topic := range topics { // nothing has been sent yet
		client.Config().Producer.MaxMessageBytes = min(client.Config().Producer.MaxMessageBytes, sizes.Of(topic))
	}
	producer, err := sarama.NewAsyncProducerFromClient(client)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make producer: %w", err), client.Close())
	}
	p := &Publisher{client: client, producer: producer}
	p.done.Go(func() {
		for m := range producer.Successes() {
			p.outcomes.came(nil)
			m.Metadata.(promise).keep(nil)
		}
	})
	p.done.Go(func() {
		for e := range producer.Errors() {
			p.outcomes.came(e.Err)
			e.Msg.Metadata.(promise).keep(e.Err)
		}
	})
	return p, nil
}

// Metrics is where sarama measures the publisher's connections and requests.
func (p *Publisher) Metrics() metrics.Registry { return p.client.Config().MetricRegistry }

// Publish sends one record and returns when Kafka has it, with the record's
// partition and offset filled in. An error wraps [ErrUnacknowledged].
func (p *Publisher) Publish(ctx context.Context, m *sarama.ProducerMessage) error {
	return p.PublishAll(ctx, []*sarama.ProducerMessage{m})
}

// PublishAll sends records in order and returns when Kafka has them all. An
// error wraps [ErrUnacknowledged]; some of the records may then be in the log.
// It wraps a [TooLargeError] where some were refused for their size, or for that
// of the batch they were in, and all others are in the log.
func (p *Publisher) PublishAll(ctx context.Context, records []*sarama.ProducerMessage) error {
	if p.Took != nil {
		defer func(began time.Time) { p.Took(time.Since(began)) }(time.Now())
	}
	// Room for every answer: one that comes after we gave up is dropped with
	// the channel and blocks nobody.
	answers := make(chan answer, len(records))
	for i, m := range records {
		m.Metadata = promise{i, answers}
		select {
		case p.producer.Input() <- m:
			p.outcomes.sent()
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnacknowledged, ctx.Err())
		}
	}
	var failed error
	var refused *TooLargeError // usually there is none
	for range records {
		select {
		case a := <-answers:
			switch {
			case a.err == nil:
			case tooLarge(a.err):
				if refused == nil {
					refused = &TooLargeError{}
				}
				refused.Records, refused.Err = append(refused.Records, a.record), a.err
			case failed == nil:
				failed = a.err
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnacknowledged, ctx.Err())
		}
	}
	if failed == nil && refused != nil {
		slices.Sort(refused.Records)
		failed = refused
	}
	if failed != nil {
		return fmt.Errorf("%w: %w", ErrUnacknowledged, failed)
	}
	return nil
}

const (
	// slowAnswer is how long Kafka may take to acknowledge a record before it is
	// taken to accept none.
	slowAnswer = 5 * time.Second
	// doubt is how long a record that was refused speaks against Kafka where no
	// other one follows: who sends none cannot know better, and the next one shows.
	doubt = 30 * time.Second
)

// outcomes is what became of the records that were sent last.
type outcomes struct {
	mu       sync.Mutex
	waiting  int       // records without their answer; below 0 for a moment, where one overtakes
	since    time.Time // from when on there were some, or when the last answer came
	failed   error     // the last answer, where it was none
	failedAt time.Time
}

func (o *outcomes) sent() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == 0 {
		o.since = time.Now()
	}
	o.waiting++
}

func (o *outcomes) came(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting--
	o.since = time.Now()
	switch {
	case err == nil:
		o.failed = nil
	case !tooLarge(err): // which is about the record
		o.failed, o.failedAt = err, o.since
	}
}

// Check is a readiness check: whether Kafka takes writes, by what became of the
// records that were sent last. No record is sent for it.
func (p *Publisher) Check(context.Context) error {
	o := &p.outcomes
	o.mu.Lock()
	defer o.mu.Unlock()
	switch now := time.Now(); {
	case o.waiting > 0 && now.Sub(o.since) >= slowAnswer:
		return fmt.Errorf("%w for %s: a record", ErrUnacknowledged, now.Sub(o.since).Round(time.Second))
	case o.failed != nil && now.Sub(o.failedAt) < doubt:
		return fmt.Errorf("the last record was %w: %w", ErrUnacknowledged, o.failed)
	}
	return nil
}

// promise goes with a record to its acknowledgement.
type promise struct {
	record int // of those that were sent together
	to     chan<- answer
}

type answer struct {
	record int
	err    error
}

func (p promise) keep(err error) { p.to <- answer{p.record, err} }

// tooLarge knows the broker's answer, and sarama's own, which is a configuration
// error: for a record, the only one there is once a producer runs.
func tooLarge(err error) bool {
	_, own := errors.AsType[sarama.ConfigurationError](err)
	return own || errors.Is(err, sarama.ErrMessageSizeTooLarge)
}

// Close sends what was accepted and ends the connections.
func (p *Publisher) Close() error {
	p.producer.AsyncClose()
	p.done.Wait()
	return p.client.Close()
}
