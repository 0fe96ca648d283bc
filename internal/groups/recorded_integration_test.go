//go:build integration

package groups_test

import (
	"testing"

	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// What a real Kafka answers comes to the same states as what kfake does.
func TestRecordedOnApacheKafka(t *testing.T) {
	broker := testkafka.Start(t)
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			s.film(t, "kafka", "recorded on Apache Kafka by internal/groups", []string{broker.Address()})
		})
	}
}
