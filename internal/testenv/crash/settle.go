package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// settlePoll is longer than the services take between two commits of their
// offsets: what did not move from one look to the next is at rest.
const settlePoll = 700 * time.Millisecond

// settled waits until the topics have stopped growing and every group's offset
// in Kafka stands at their ends.
func settled(ctx context.Context, address string) error {
	var before offsets
	for {
		var now offsets
		var behind string
		err := connected(address, clientConfig(), func(client sarama.Client) (err error) {
			if now, err = ends(client); err != nil {
				return err
			}
			behind, err = backlog(client, now)
			return err
		})
		if err == nil && behind == "" && same(before, now) {
			return nil
		}
		before = now
		if lifecycle.Sleep(ctx, settlePoll) != nil {
			return errors.Join(fmt.Errorf("the system does not settle: %s", cmp.Or(behind, "it goes on growing")), err)
		}
	}
}

// backlog names a partition that a group has not read to its end, or "".
func backlog(client sarama.Client, ends offsets) (string, error) {
	admin, err := sarama.NewClusterAdminFromClient(client) // shares the client, which the caller closes
	if err != nil {
		return "", fmt.Errorf("ask for groups: %w", err)
	}
	for group, topics := range map[string][]string{
		banking.GroupPaiement:  {banking.TopicOrdersCreated},
		banking.GroupSuivi:     {banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ},
		banking.GroupAnalyseur: {banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected},
	} {
		partitions := map[string][]int32{}
		for _, topic := range topics {
			for p := range ends[topic] {
				partitions[topic] = append(partitions[topic], p)
			}
		}
		response, err := admin.ListConsumerGroupOffsets(group, partitions)
		if err != nil {
			return "", fmt.Errorf("offsets of %s: %w", group, err)
		}
		for topic, parts := range partitions {
			for _, p := range parts {
				block := response.GetBlock(topic, p)
				if end := ends[topic][p]; end > 0 && (block == nil || block.Offset < end) {
					return fmt.Sprintf("%s has not read %s/%d to its end at %d", group, topic, p, end), nil
				}
			}
		}
	}
	return "", nil
}

func same(a, b offsets) bool {
	return a != nil && maps.EqualFunc(a, b, maps.Equal)
}
