package traces

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// Whatever the records' times say, an order comes before what came of it; and a
// replay after the letter that it replays.
func TestNoTimePutsAnOrderAfterItsResult(t *testing.T) {
	const future = 1000 * time.Hour
	at1970, none := created(4, 0), decided(7, 0)
	at1970.Time, none.Time = time.UnixMilli(0), time.UnixMilli(-1)
	for name, facts := range map[string][]Fact{
		"as it was":                {factOf(created(4, 0)), factOf(decided(7, 1))},
		"an order of the future":   {factOf(created(4, future)), factOf(decided(7, 1))},
		"a result of the future":   {factOf(created(4, 0)), factOf(decided(7, future))},
		"an order of 1970":         {factOf(at1970), factOf(decided(7, 1))},
		"a result without a time":  {factOf(created(4, 0)), factOf(none)},
		"an order that comes last": {factOf(decided(7, 1)), factOf(created(4, future))},
	} {
		sortFacts(facts)
		if got := fmt.Sprint(facts[0].Kind, " ", facts[1].Kind); got != "OrderCreated PaymentAuthorized" {
			t.Errorf("%s: %s", name, got)
		}
		if text := storyText(facts, 0); text == "" {
			t.Errorf("%s: no story", name)
		}
	}
}

// Producers of other languages choose partitions by another hash, or by hand.
func TestEveryPartitionIsRead(t *testing.T) {
	c := newCluster(t)
	var records []*sarama.ProducerMessage
	for id := range int32(banking.Partitions) {
		m := &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Partition: id, Key: sarama.StringEncoder("order-1"), Value: sarama.StringEncoder("{}")}
		for _, h := range created(0, 0).Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		records = append(records, m)
	}
	testkafka.Begin(t, c.source.Kafka, records...).Commit()
	testkafka.Begin(t, c.source.Kafka, records...).Abort()
	facts, err := c.source.Facts(t.Context(), "order-1", Window{})
	if err != nil || len(facts) != banking.Partitions {
		t.Errorf("found %+v, %v; want one record of each partition, and none of the transaction that was aborted", facts, err)
	}
}
