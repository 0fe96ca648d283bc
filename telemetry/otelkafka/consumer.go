package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/IBM/sarama"
)

// Consumer is a [sarama.Consumer], for who reads partitions without a group, with what sarama measures on the page. Begin
// a partition by [Consumer.Partition]; one that [sarama.Consumer.ConsumePartition] begins is left as sarama has it.
type Consumer struct {
	sarama.Consumer
	inst      *Instrumentation
	positions *positions
	closers   closers
}

// NewConsumer is [sarama.NewConsumer] for [Consumer]. config nil stands for sarama's default; it is not changed. Lag needs a
// client of its own, as with [NewConsumerGroup]. Close the partitions, then the consumer, to end what it has started.
//
// It fails if i is nil, and where sarama's does.
func NewConsumer(addrs []string, config *sarama.Config, i *Instrumentation) (*Consumer, error) {
	if i == nil {
		return nil, errors.New("make a consumer: the instrumentation is nil")
	}
	client, err := sarama.NewClient(addrs, config)
	if err != nil {
		return nil, fmt.Errorf("make a consumer: %w", err)
	}
	return newConsumer(client, i, client.Close)
}

// NewConsumerFromClient is [NewConsumer] by a client that is there, and stays the caller's to close.
func NewConsumerFromClient(client sarama.Client, i *Instrumentation) (*Consumer, error) {
	switch {
	case i == nil:
		return nil, errors.New("make a consumer: the instrumentation is nil")
	case isNil(client):
		return nil, errors.New("make a consumer: the client is nil")
	}
	return newConsumer(client, i)
}

// newConsumer takes over the closers, also where it fails.
func newConsumer(client sarama.Client, i *Instrumentation, closers ...func() error) (_ *Consumer, err error) {
	c := &Consumer{inst: i}
	c.closers.add(closers...)
	defer func() {
		if err != nil {
			err = fmt.Errorf("make a consumer: %w", errors.Join(err, c.closers.close()))
		}
	}()
	if c.positions, err = i.followLag("", client, &c.closers); err != nil {
		return nil, err
	}
	if c.Consumer, err = sarama.NewConsumerFromClient(client); err != nil {
		return nil, err
	}
	unobserve := i.observeClient(client.Config(), "consumer")
	c.closers.add(func() error { unobserve(); return nil }, c.Consumer.Close)
	return c, nil
}

// Close implements [sarama.Consumer]. When it has returned, the polls of the lag have ended, and no series of this consumer
// is on the page.
func (c *Consumer) Close() error { return c.closers.close() }

// Partition begins to read a partition at an offset, as [sarama.Consumer.ConsumePartition] does, and follows its lag: what the
// loops over [PartitionConsumer.Records] and [PartitionConsumer.Batches] have not done. Its series have no label group.
func (c *Consumer) Partition(topic string, partition int32, offset int64) (*PartitionConsumer, error) {
	inner, err := c.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, fmt.Errorf("read partition %d of %s: %w", partition, topic, err)
	}
	begun := c.positions.begin(topic, partition, offset)
	end := sync.OnceFunc(func() { c.positions.end(topic, partition) })
	return &PartitionConsumer{PartitionConsumer: inner, consumer: c, position: begun, end: end}, nil
}

// PartitionConsumer is a [sarama.PartitionConsumer] made by [Consumer.Partition].
type PartitionConsumer struct {
	sarama.PartitionConsumer
	consumer *Consumer
	position *position
	end      func()
}

// Records returns the partition's records for a loop, until ctx ends or the partition is closed:
//
//	for record := range partition.Records(ctx) {
//		if err := handle(record.Context(), record.ConsumerMessage); err != nil {
//			record.Fail(err)
//		}
//	}
//
// Spans, times and counts are those of [Instrumentation.Records]. A record is no lag any more once the loop's body is left,
// but for the last one before the loop ends if it has failed.
func (p *PartitionConsumer) Records(ctx context.Context) iter.Seq[*Record] {
	return p.consumer.inst.records(p.reader(ctx))
}

// Batches is to [PartitionConsumer.Records] what [Instrumentation.Batches] is to [Instrumentation.Records].
func (p *PartitionConsumer) Batches(ctx context.Context, most int) iter.Seq[*Batch] {
	return p.consumer.inst.batches(p.reader(ctx), most)
}

func (p *PartitionConsumer) reader(ctx context.Context) *reader {
	return &reader{
		ctx: ctx, done: ctx.Done(), messages: p.Messages(), took: p.position.take,
		passed: func(msg *sarama.ConsumerMessage) { p.position.mark(msg.Offset + 1) },
	}
}

// AsyncClose implements [sarama.PartitionConsumer].
func (p *PartitionConsumer) AsyncClose() {
	p.end()
	p.PartitionConsumer.AsyncClose()
}

// Close implements [sarama.PartitionConsumer].
func (p *PartitionConsumer) Close() error {
	p.end()
	return p.PartitionConsumer.Close()
}
