package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/IBM/sarama"
)

// OffsetSource knows where logs start and end.
type OffsetSource interface {
	// Offsets returns, for each partition it can, the log's end (at sarama.OffsetNewest) or start
	// (sarama.OffsetOldest). It may return both some offsets and an error for the rest.
	Offsets(ctx context.Context, at int64, partitions []TopicPartition) (map[TopicPartition]int64, error)
}

// brokerOffsets asks the leaders, with one ListOffsets request each.
type brokerOffsets struct{ client sarama.Client }

func (b *brokerOffsets) Offsets(
	ctx context.Context, at int64, partitions []TopicPartition,
) (map[TopicPartition]int64, error) {
	leaders, err := b.byLeader(ctx, partitions)
	answers := make(chan answer, len(leaders))
	var asking sync.WaitGroup
	for leader, theirs := range leaders {
		asking.Go(func() { answers <- b.ask(leader, at, theirs) })
	}
	asking.Wait()
	close(answers)
	found := make(map[TopicPartition]int64, len(partitions))
	for a := range answers {
		err = errors.Join(err, a.err)
		for partition, offset := range a.offsets {
			found[partition] = offset
		}
	}
	return found, err
}

// byLeader groups the partitions by leader. A partition without one is left out and reported.
func (b *brokerOffsets) byLeader(
	ctx context.Context, partitions []TopicPartition,
) (map[*sarama.Broker][]TopicPartition, error) {
	leaders := make(map[*sarama.Broker][]TopicPartition)
	var errs []error
	for _, p := range partitions {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		leader, err := b.client.Leader(p.Topic, p.Partition)
		if err != nil {
			errs = append(errs, fmt.Errorf("find leader of %s/%d: %w", p.Topic, p.Partition, err))
			continue
		}
		leaders[leader] = append(leaders[leader], p)
	}
	return leaders, errors.Join(errs...)
}

// answer is what one leader said.
type answer struct {
	offsets map[TopicPartition]int64
	err     error
}

// ask sends one request. A connection that fails is closed, as sarama does, so that the next use opens it anew;
// a leader that moved makes the client look for the new one.
func (b *brokerOffsets) ask(leader *sarama.Broker, at int64, partitions []TopicPartition) answer {
	config := b.client.Config()
	request := sarama.NewOffsetRequest(config.Version)
	request.IsolationLevel = config.Consumer.IsolationLevel
	for _, p := range partitions {
		request.AddBlock(p.Topic, p.Partition, at, 1)
	}
	response, err := leader.GetAvailableOffsets(request)
	if err != nil {
		_ = leader.Close() // it may be closed already, which is what is wanted
		return answer{err: fmt.Errorf("list offsets at broker %d: %w", leader.ID(), err)}
	}
	offsets := make(map[TopicPartition]int64, len(partitions))
	var errs []error
	for _, p := range partitions {
		offset, err := blockOffset(response.GetBlock(p.Topic, p.Partition))
		if err != nil {
			errs = append(errs, fmt.Errorf("list offsets of %s/%d: %w", p.Topic, p.Partition, err))
			errs = append(errs, b.client.RefreshMetadata(p.Topic))
			continue
		}
		offsets[p] = offset
	}
	return answer{offsets, errors.Join(errs...)}
}

// blockOffset reads a partition's answer. Versions 0 and later of the response both fill Offsets.
func blockOffset(block *sarama.OffsetResponseBlock) (int64, error) {
	switch {
	case block == nil:
		return 0, sarama.ErrIncompleteResponse
	case block.Err != sarama.ErrNoError:
		return 0, block.Err
	case len(block.Offsets) != 1:
		return 0, sarama.ErrOffsetOutOfRange
	}
	return block.Offsets[0], nil
}
