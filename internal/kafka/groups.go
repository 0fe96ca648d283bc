package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// ErrGroupInUse: a consumer group still has members.
var ErrGroupInUse = errors.New("consumer group has members")

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
