package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/IBM/sarama"
)

// brokerLogs asks the partitions' leaders, with one request each.
type brokerLogs struct {
	client sarama.Client
	calls  calls
}

// Offsets implements [OffsetSource] by ListOffsets. Under read_committed, the end is the last stable offset.
func (b *brokerLogs) Offsets(
	ctx context.Context, at int64, partitions []TopicPartition,
) (map[TopicPartition]int64, error) {
	return askLeaders(ctx, b, partitions, func(leader *sarama.Broker, theirs []TopicPartition) (map[TopicPartition]int64, error) {
		return b.listOffsets(leader, at, theirs)
	})
}

// askLeaders groups the partitions by leader and asks all leaders at once, as far as ctx and the calls still
// under way allow. Meanwhile the client looks for the leaders that it does not know.
func askLeaders[A any](
	ctx context.Context, b *brokerLogs, partitions []TopicPartition,
	ask func(*sarama.Broker, []TopicPartition) (map[TopicPartition]A, error),
) (map[TopicPartition]A, error) {
	known, err := call(ctx, &b.calls, leadersCall, func() (leaders, error) { return b.leaders(partitions), nil })
	if err != nil {
		return nil, fmt.Errorf("find leaders: %w", err)
	}
	type answer struct {
		found map[TopicPartition]A
		err   error
	}
	answers := make(chan answer, len(known.partitions)+1)
	for leader, theirs := range known.partitions {
		go func() {
			found, err := call(ctx, &b.calls, leader.ID(), func() (map[TopicPartition]A, error) { return ask(leader, theirs) })
			if err != nil {
				err = fmt.Errorf("ask broker %d: %w", leader.ID(), err)
			}
			answers <- answer{found, err}
		}()
	}
	go func() { answers <- answer{err: b.findAnew(ctx, known.failures)} }()
	all := make(map[TopicPartition]A, len(partitions))
	for range cap(answers) {
		a := <-answers
		err = errors.Join(err, a.err)
		maps.Copy(all, a.found)
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

// findAnew reports what has no leader and has the client ask for it, in one request.
func (b *brokerLogs) findAnew(ctx context.Context, failures *partitionErrors) error {
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

// disconnect closes a connection that failed, as sarama does, so that the next use opens it anew, and has the
// client find out whether its partitions have another leader by now.
func (b *brokerLogs) disconnect(leader *sarama.Broker, partitions []TopicPartition, err error) error {
	_ = leader.Close() // it may be closed already, which is what is wanted
	failures := partitionErrors{}
	for _, p := range partitions {
		failures.add(p, err)
	}
	return b.refresh(&failures)
}

// refresh has the client ask anew for the topics that something failed about, once.
func (b *brokerLogs) refresh(failures *partitionErrors) error {
	if failures.count == 0 {
		return nil
	}
	err := failures.err()
	if refreshErr := b.client.RefreshMetadata(failures.topics...); refreshErr != nil {
		err = errors.Join(err, fmt.Errorf("find leaders anew: %w", refreshErr))
	}
	return err
}

// blockOffset reads a partition's answer. Versions 0 and later of the response both fill Offsets.
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
