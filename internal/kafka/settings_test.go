package kafka_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// Topics that somebody made, or an earlier version, are found to be too small and
// too short-lived, and are put right; what is more than is needed stays.
func TestTopicsAreComparedAndSet(t *testing.T) {
	_, client := testkafka.Embedded(t)
	topicsAreComparedAndSet(t, client)
}

func topicsAreComparedAndSet(t *testing.T, client *kafka.Client) {
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	set := func(topic, name, value string) {
		t.Helper()
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
		}, false); err != nil {
			t.Fatal(err)
		}
	}
	concerns := func() string {
		t.Helper()
		found, err := kafka.CheckTopics(t.Context(), client, banking.Topics())
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, c := range found {
			lines = append(lines, fmt.Sprintf("%s: %s (%s)", c.Topic, c.Text, c.Fix))
		}
		return strings.Join(lines, "\n")
	}
	if got := concerns(); got != "" {
		t.Fatalf("topics as they are made: %s", got)
	}
	set(banking.TopicOrdersCreated, "retention.ms", "-1")
	set(banking.TopicOrdersDLQ, "max.message.bytes", "9000000")
	if got := concerns(); got != "" {
		t.Errorf("more than is needed: %s", got)
	}
	set(banking.TopicPaymentsAuthorized, "retention.ms", fmt.Sprint((7 * 24 * time.Hour).Milliseconds()))
	set(banking.TopicPaymentsDLQ, "max.message.bytes", "1048588")
	set(banking.TopicPaymentsRejected, "cleanup.policy", "compact")
	got := concerns()
	for _, want := range []string{
		"payments.authorized: it keeps records for 168h0m0s, less than the 840h0m0s that are needed (vigie topics)",
		"payments.dlq: it takes 1048588 bytes at a time", "payments.rejected: its cleanup.policy is compact", "--entity-name payments.rejected",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	changed, err := kafka.AlignTopics(t.Context(), client, banking.Topics())
	if err != nil || len(changed) != 2 {
		t.Errorf("changed %v, %v", changed, err)
	}
	if got := concerns(); strings.Count(got, "\n") != 0 || !strings.Contains(got, "compact") {
		t.Errorf("afterwards: %s", got)
	}
	if again, err := kafka.AlignTopics(t.Context(), client, banking.Topics()); err != nil || len(again) != 0 {
		t.Errorf("changed once more: %v, %v", again, err)
	}
}
