package otelkafka

import (
	"testing"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

func TestFailures(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	f, err := NewFailures(inst, []string{"in"}, []string{"malformed"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		catalogue.KafkaMessagesFailedTotal, catalogue.KafkaDeadLettersTotal, catalogue.KafkaDuplicatesTotal,
	} {
		if got := r.Metric(name, map[string]string{"topic": "in"}); got != 0 {
			t.Errorf("%s starts at %v", name, got)
		}
	}
	f.CountFailed(t.Context(), "in", "malformed")
	f.CountDeadLettered(t.Context(), "in", "user-7 did it")
	f.CountDuplicate(t.Context(), "in")
	for name, reason := range map[string]string{
		catalogue.KafkaMessagesFailedTotal: "malformed", catalogue.KafkaDeadLettersTotal: catalogue.LabelOther,
	} {
		if got := r.Metric(name, map[string]string{"topic": "in", "reason": reason}); got != 1 {
			t.Errorf("%s counts %v, want 1", name, got)
		}
	}
	if got := r.Metric(catalogue.KafkaDuplicatesTotal, nil); got != 1 {
		t.Errorf("duplicates %v, want 1", got)
	}
	r.CheckCatalogue()
}
