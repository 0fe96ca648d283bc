package suivi

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// What is written when a letter is replayed or purged changes no order: what a
// replay does to an order, the replay's own records say.
func TestResolutionsSayNothingAboutOrders(t *testing.T) {
	tr := &tracker{}
	for _, resolution := range []string{"replayed", "purged"} {
		marker := record.Record{
			Place: record.At(banking.TopicOrdersDLQ, 0, 0), Key: []byte("order-1"), Time: at(9),
			Headers: []record.Header{
				{Key: record.HeaderResolves, Value: []byte("orders.dlq/0/7")},
				{Key: record.HeaderResolution, Value: []byte(resolution)},
				{Key: record.HeaderResolvedAt, Value: []byte("2026-03-04T05:03:00Z")},
			},
		}
		for name, known := range map[string]histories{"unknown": {}, "failed": {"order-1": moments(failed("order-1", 3, 7))}} {
			got, out, err := tr.Handle(t.Context(), known, marker)
			if got != nil || out != nil || err != nil {
				t.Errorf("%s, of an order that is %s: %v, %v, %v", resolution, name, got, out, err)
			}
		}
	}
}

// A record's own headers come after those of its dead letter and are not
// believed: it cannot say why, where or by whom it was set aside.
func TestARecordDoesNotSpeakForItsDeadLetter(t *testing.T) {
	letter := deadLetter(t, banking.GroupPaiement)
	honest, _, _ := (&tracker{}).Handle(t.Context(), histories{}, letter)
	for _, name := range []string{
		record.HeaderConsumerGroup, record.HeaderErrorReason, record.HeaderOriginalTopic, record.HeaderOriginalOffset, record.HeaderFailedAt,
	} {
		letter.Headers = append(letter.Headers, record.Header{Key: name, Value: []byte("forged")})
	}
	got, _, err := (&tracker{}).Handle(t.Context(), histories{}, letter)
	if diff := cmp.Diff(honest, got); diff != "" || err != nil || got == nil {
		t.Errorf("%v (-honest +forged):\n%s", err, diff)
	}
}
