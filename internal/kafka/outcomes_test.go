package kafka

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// What was sent last says whether Kafka takes writes.
func TestWritesSpeakForThemselves(t *testing.T) {
	refused := sarama.ErrNotEnoughReplicas
	synctest.Test(t, func(t *testing.T) {
		p := &Publisher{}
		want := func(when string, err error) {
			t.Helper()
			if got := p.Check(t.Context()); !errors.Is(got, err) {
				t.Errorf("%s: %v, want %v", when, got, err)
			}
		}
		want("before any record", nil)
		p.outcomes.sent()
		want("just after one was sent", nil)
		_ = lifecycle.Sleep(t.Context(), slowAnswer)
		want("when it has waited for long", ErrUnacknowledged)
		p.outcomes.sent()
		p.outcomes.came(nil)
		want("while others are answered", nil)
		p.outcomes.came(refused)
		want("when one is refused", refused)
		p.outcomes.sent()
		p.outcomes.came(sarama.ErrMessageSizeTooLarge)
		want("when another was too large, which says nothing", refused)
		_ = lifecycle.Sleep(t.Context(), doubt-time.Second)
		want("until the doubt is over", refused)
		_ = lifecycle.Sleep(t.Context(), time.Second)
		want("when the doubt is over", nil)
		p.outcomes.sent()
		p.outcomes.came(refused)
		want("when the next is refused", refused)
		p.outcomes.came(nil) // its answer overtakes that it was sent
		p.outcomes.sent()
		want("when one was taken", nil)
		_ = lifecycle.Sleep(t.Context(), time.Hour)
		want("for as long as none waits", nil)
	})
}
