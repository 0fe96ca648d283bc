package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

const (
	// MaxRecordBytes bounds what is sent, and what the topics take. Kafka holds
	// it against whole batches, so it is the same for all topics. Events are at
	// most half as large; a dead letter carries the record that failed and more.
	MaxRecordBytes = 2 << 20
	// clusterDefault lets the cluster choose the replication factor (KIP-464).
	clusterDefault = -1
)

// EnsureTopics creates the topics that do not exist, waits until they can be
// used, and returns the names of those that it made. Existing topics stay as
// they are.
func EnsureTopics(ctx context.Context, client *Client, topics []banking.Topic) (created []string, err error) {
	err = client.cfg.patiently(ctx, func() error {
		// The admin shares the caller's client and is not closed: that would
		// close the client.
		admin, err := sarama.NewClusterAdminFromClient(client.Client)
		if err != nil {
			return fmt.Errorf("create topics: %w", err)
		}
		existing, err := admin.ListTopics()
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		for _, t := range topics {
			if _, ok := existing[t.Name]; ok {
				continue
			}
			switch err := createTopic(admin, t); {
			case errors.Is(err, sarama.ErrTopicAlreadyExists): // another service was quicker
			case err != nil:
				return fmt.Errorf("create topic %s: %w", t.Name, err)
			default:
				created = append(created, t.Name)
			}
		}
		return nil
	})
	if err != nil {
		return created, err
	}
	// Kafka acknowledges a new topic a moment before every broker has heard of
	// it and it has leaders.
	if err := client.cfg.patiently(ctx, func() error { return client.RefreshMetadata(names(topics)...) }); err != nil {
		return created, fmt.Errorf("wait for topics: %w", err)
	}
	return created, nil
}

// MissingTopics returns those of the topics that the cluster does not have, in their
// order. It does not ask for them by name, which would have some brokers create them.
func MissingTopics(client sarama.Client, topics []banking.Topic) ([]banking.Topic, error) {
	existing, err := client.Topics()
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	there := func(t banking.Topic) bool { return slices.Contains(existing, t.Name) }
	return slices.DeleteFunc(slices.Clone(topics), there), nil
}

func createTopic(admin sarama.ClusterAdmin, t banking.Topic) error {
	retention := strconv.FormatInt(t.Retention.Milliseconds(), 10)
	size := strconv.Itoa(MaxRecordBytes)
	return admin.CreateTopic(t.Name, &sarama.TopicDetail{
		NumPartitions:     t.Partitions,
		ReplicationFactor: clusterDefault,
		ConfigEntries:     map[string]*string{"retention.ms": &retention, "max.message.bytes": &size},
	}, false)
}

func names(topics []banking.Topic) []string {
	out := make([]string, len(topics))
	for i, t := range topics {
		out[i] = t.Name
	}
	return out
}

// Unread returns those of the topics' partitions that no member of the group
// with this client's id reads: ones that were added, or that a stranger in the
// group was given. It is false where the group has no settled assignment at the
// moment, such as during a rebalance.
func Unread(client *Client, group string, topics []string) (unread []record.Partition, settled bool, err error) {
	if err := client.RefreshMetadata(topics...); err != nil {
		return nil, false, fmt.Errorf("list partitions: %w", err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client.Client) // not closed: the client is the caller's
	if err != nil {
		return nil, false, err
	}
	described, err := admin.DescribeConsumerGroups([]string{group})
	if err != nil || len(described) != 1 {
		return nil, false, errors.Join(fmt.Errorf("describe group %s: %w", group, err), client.RefreshCoordinator(group))
	}
	if described[0].State != "Stable" {
		return nil, false, nil
	}
	read := map[record.Partition]bool{}
	for _, m := range described[0].Members {
		assignment, err := m.GetMemberAssignment()
		if err != nil {
			return nil, false, fmt.Errorf("read the assignment of %s: %w", m.MemberId, err)
		}
		if m.ClientId != client.cfg.ClientID || assignment == nil {
			continue
		}
		for topic, ids := range assignment.Topics {
			for _, id := range ids {
				read[record.Partition{Topic: topic, ID: id}] = true
			}
		}
	}
	for _, topic := range topics {
		ids, err := client.Partitions(topic)
		if err != nil {
			return nil, false, fmt.Errorf("list partitions of %s: %w", topic, err)
		}
		for _, id := range ids {
			if p := (record.Partition{Topic: topic, ID: id}); !read[p] {
				unread = append(unread, p)
			}
		}
	}
	return unread, true, nil
}

// ErrGroupInUse: a consumer group still has members.
var ErrGroupInUse = errors.New("consumer group has members")

// CheckIdle returns [ErrGroupInUse] where one of the consumer groups has members.
func CheckIdle(client sarama.Client, groups ...string) error {
	members, err := Members(client, groups...)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if members[g] > 0 {
			return fmt.Errorf("%w: %s", ErrGroupInUse, g)
		}
	}
	return nil
}

// Members returns how many members the consumer groups have; one that does not
// exist has none.
func Members(client sarama.Client, groups ...string) (map[string]int, error) {
	admin, err := sarama.NewClusterAdminFromClient(client) // not closed: the client is the caller's
	if err != nil {
		return nil, fmt.Errorf("describe consumer groups: %w", err)
	}
	found, err := admin.DescribeConsumerGroups(groups)
	if err != nil {
		return nil, fmt.Errorf("describe consumer groups: %w", err)
	}
	members := map[string]int{}
	for _, g := range found {
		members[g.GroupId] = len(g.Members)
	}
	return members, nil
}

// Committed returns the offsets of a group in a topic, of those partitions where
// it has any.
func Committed(client sarama.Client, group, topic string) (map[record.Partition]int64, error) {
	commits, err := commitsOf(client, group, topic)
	if err != nil {
		return nil, err
	}
	committed := map[record.Partition]int64{}
	for id, block := range commits[topic] {
		if block.Offset >= 0 {
			committed[record.Partition{Topic: topic, ID: id}] = block.Offset
		}
	}
	return committed, nil
}

// commitsOf returns what a group has committed in topics, by topic and partition: what
// a group of which brokers know nothing, as after a reset, has not.
func commitsOf(client sarama.Client, group string, topics ...string) (map[string]map[int32]*sarama.OffsetFetchResponseBlock, error) {
	partitions := map[string][]int32{}
	for _, topic := range topics {
		ids, err := client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("list partitions of %s: %w", topic, err)
		}
		partitions[topic] = ids
	}
	admin, err := sarama.NewClusterAdminFromClient(client) // not closed: the client is the caller's
	if err != nil {
		return nil, fmt.Errorf("read the offsets of %s: %w", group, err)
	}
	answer, err := admin.ListConsumerGroupOffsets(group, partitions)
	switch {
	case errors.Is(err, sarama.ErrGroupIDNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the offsets of %s: %w", group, err)
	}
	return answer.Blocks, nil
}

// Rewind moves a group without members back to the start of each partition for which the
// service itself has committed an offset, and keeps what these say ([Identity.Stamp]). A group
// with none is removed.
func Rewind(ctx context.Context, client *Client, group string, topics ...string) error {
	commits, err := commitsOf(client, group, topics...)
	if err != nil {
		return err
	}
	starts := map[string]map[int32]sarama.OffsetAndMetadata{}
	for topic, partitions := range commits {
		for id, block := range partitions {
			if block.Offset < 0 || !IsOurs(block.Metadata) {
				continue
			}
			oldest, err := client.GetOffset(topic, id, sarama.OffsetOldest)
			if err != nil {
				return fmt.Errorf("read the start of %s/%d: %w", topic, id, err)
			}
			if starts[topic] == nil {
				starts[topic] = map[int32]sarama.OffsetAndMetadata{}
			}
			starts[topic][id] = sarama.OffsetAndMetadata{Offset: oldest, LeaderEpoch: -1, Metadata: Rewound(block.Metadata)}
		}
	}
	if len(starts) == 0 {
		return DeleteGroups(client, group)
	}
	return client.cfg.patiently(ctx, func() error { return MoveGroup(client, group, starts) })
}

// MoveGroup commits offsets, by topic and partition, for a group without members.
func MoveGroup(client sarama.Client, group string, offsets map[string]map[int32]sarama.OffsetAndMetadata) error {
	admin, err := sarama.NewClusterAdminFromClient(client) // not closed: the client is the caller's
	if err != nil {
		return fmt.Errorf("move %s: %w", group, err)
	}
	answer, err := admin.AlterConsumerGroupOffsets(group, offsets, nil)
	if err != nil {
		return fmt.Errorf("move %s: %w", group, err)
	}
	for topic, partitions := range answer.Errors {
		for id, refused := range partitions {
			if !errors.Is(refused, sarama.ErrNoError) {
				return fmt.Errorf("move %s in %s/%d: %w", group, topic, id, refused)
			}
		}
	}
	return nil
}

// DeleteGroups removes consumer groups and their offsets. Groups that do not
// exist are no error; one that has members is [ErrGroupInUse].
func DeleteGroups(client sarama.Client, groups ...string) error {
	admin, err := sarama.NewClusterAdminFromClient(client) // not closed: the client is the caller's
	if err != nil {
		return fmt.Errorf("delete consumer groups: %w", err)
	}
	for _, g := range groups {
		switch err := admin.DeleteConsumerGroup(g); {
		case errors.Is(err, sarama.ErrNonEmptyGroup):
			return fmt.Errorf("%w: %s", ErrGroupInUse, g)
		case err != nil && !errors.Is(err, sarama.ErrGroupIDNotFound):
			return fmt.Errorf("delete consumer group %s: %w", g, err)
		}
	}
	return nil
}
