package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"

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

// NewPublisher connects an idempotent producer, with the patience of a start.
func NewPublisher(ctx context.Context, cfg Config) (*Publisher, error) {
	var client sarama.Client
	if err := cfg.patiently(ctx, func() (err error) {
		client, err = cfg.dial(cfg.producer())
		return err
	}); err != nil {
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
