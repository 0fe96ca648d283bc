//go:build unix

package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/services"
)

// cluster is the broker's address as our own clients take it.
func cluster(address string) kafka.Config {
	return kafka.Config{Brokers: addresses(address), ClientID: "crashtest", Patience: recovery}
}

// addresses are those of a broker's nodes.
func addresses(address string) []string { return strings.Split(address, ",") }

// connected runs work with a client of the broker.
func connected(ctx context.Context, address string, work func(*kafka.Client) error) (err error) {
	client, err := kafka.Connect(ctx, cluster(address))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return work(client)
}

// readTopics reads topics from their start to their end.
func readTopics(ctx context.Context, address string, topics ...string) (map[string][]record.Record, error) {
	spans, err := bounds(ctx, address, topics...)
	if err != nil {
		return nil, err
	}
	return scan(ctx, address, spans)
}

// bounds returns what the topics hold at this moment.
func bounds(ctx context.Context, address string, topics ...string) (spans []kafka.Span, err error) {
	err = connected(ctx, address, func(client *kafka.Client) (err error) {
		spans, err = kafka.Bounds(ctx, client, topics...)
		return err
	})
	return spans, err
}

// scan reads parts of topics.
func scan(ctx context.Context, address string, spans []kafka.Span) (map[string][]record.Record, error) {
	out := map[string][]record.Record{}
	var mu sync.Mutex
	err := kafka.Scan(ctx, cluster(address), spans, func(r record.Record) error {
		mu.Lock()
		defer mu.Unlock()
		out[r.Topic] = append(out[r.Topic], r)
		return nil
	})
	return out, err
}

// restPoll is longer than the services take between two commits of their
// offsets: what did not move from one look to the next is at rest.
const restPoll = 700 * time.Millisecond

// awaitRest waits until the topics have stopped growing and every group's
// offset in Kafka stands at their ends.
func awaitRest(ctx context.Context, address string) error {
	var before []kafka.Span
	for {
		var now []kafka.Span
		var behind string
		err := connected(ctx, address, func(client *kafka.Client) (err error) {
			if now, err = kafka.Bounds(ctx, client, topicNames()...); err != nil {
				return err
			}
			behind, err = backlog(ctx, client, now)
			return err
		})
		if err == nil && behind == "" && slices.Equal(before, now) {
			return nil
		}
		before = now
		if lifecycle.Sleep(ctx, restPoll) != nil {
			return errors.Join(fmt.Errorf("the system does not come to rest: %s", cmp.Or(behind, "it goes on growing")), err)
		}
	}
}

func topicNames() (names []string) {
	for _, t := range banking.Topics() {
		names = append(names, t.Name)
	}
	return names
}

// groups returns what each consumer group reads, that of who looks on among them.
func groups() map[string][]string {
	out := map[string][]string{}
	for _, s := range services.All() {
		if s.Group != "" {
			out[s.Group] = s.Consumes
		}
	}
	return out
}

// readersOf returns the groups that read a topic.
func readersOf(topic string) (readers []string) {
	for group, topics := range groups() {
		if slices.Contains(topics, topic) {
			readers = append(readers, group)
		}
	}
	return readers
}

// settersAside are the readers of a topic that set aside what they cannot process: those
// of the bank.
func settersAside(topic string) []string {
	return slices.DeleteFunc(readersOf(topic), func(group string) bool { return group == banking.GroupSentinelle })
}

// backlog names a partition that a group has not read to its end, or "".
func backlog(ctx context.Context, client *kafka.Client, logs []kafka.Span) (string, error) {
	admin, err := sarama.NewClusterAdminFromClient(client) // shares the client, which the caller closes
	if err != nil {
		return "", fmt.Errorf("list groups: %w", err)
	}
	for group, topics := range groups() {
		partitions := map[string][]int32{}
		for _, log := range logs {
			if slices.Contains(topics, log.Topic) {
				partitions[log.Topic] = append(partitions[log.Topic], log.ID)
			}
		}
		response, err := admin.ListConsumerGroupOffsets(group, partitions)
		if err != nil {
			return "", fmt.Errorf("offsets of %s: %w", group, err)
		}
		for _, log := range logs {
			if !slices.Contains(topics, log.Topic) {
				continue
			}
			if block := response.GetBlock(log.Topic, log.ID); block != nil {
				log.Start = max(log.Start, block.Offset)
			}
			// What a log ends with may be no record, but a transaction's marker.
			unread, err := log.Start < log.End, error(nil)
			if unread {
				unread, err = client.Holds(ctx, log)
			}
			if unread || err != nil {
				return fmt.Sprintf("%s has not read %s to its end at %d", group, log.Partition, log.End), err
			}
		}
	}
	return "", nil
}
