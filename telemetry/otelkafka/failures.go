package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// Failures counts the records of a consumer that could not simply be processed. Its methods are safe for
// concurrent use.
type Failures struct {
	failed, deadLetters, duplicates metric.Int64Counter
	reasons                         map[string]struct{}
	topics, series                  *telemetry.Budget

	mu      sync.RWMutex
	options map[failureLabels][]metric.AddOption
}

// failureLabels is a label set; without a reason it is one of kafka_duplicates_total.
type failureLabels struct{ topic, reason string }

// NewFailures returns the counters for the topics that t's service consumes and the closed set of reasons for
// which a record may fail. All of their series are exported as zero from the start.
func NewFailures(t *telemetry.Telemetry, topics, reasons []string) (*Failures, error) {
	f := &Failures{
		reasons: make(map[string]struct{}, len(reasons)), options: make(map[failureLabels][]metric.AddOption),
		topics: t.Instruments().Budget(telemetry.KafkaDuplicatesTotal, 1),
		series: t.Instruments().Budget(telemetry.KafkaMessagesFailedTotal, 1),
	}
	var errs [3]error
	f.failed, errs[0] = t.Instruments().Int64Counter(telemetry.KafkaMessagesFailedTotal)
	f.deadLetters, errs[1] = t.Instruments().Int64Counter(telemetry.KafkaDeadLettersTotal)
	f.duplicates, errs[2] = t.Instruments().Int64Counter(telemetry.KafkaDuplicatesTotal)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("count failures for %s: %w", t.Service(), err)
	}
	for _, reason := range reasons {
		f.reasons[reason] = struct{}{}
	}
	ctx := context.Background()
	for _, topic := range topics {
		f.duplicates.Add(ctx, 0, f.labels(topic, "")...)
		for _, reason := range reasons {
			f.failed.Add(ctx, 0, f.labels(topic, reason)...)
			f.deadLetters.Add(ctx, 0, f.labels(topic, reason)...)
		}
	}
	return f, nil
}

// Failed counts a record of the topic that failed for good.
func (f *Failures) Failed(ctx context.Context, topic, reason string) {
	f.failed.Add(ctx, 1, f.labels(topic, f.known(reason))...)
}

// DeadLettered counts a record of the topic that was set aside.
func (f *Failures) DeadLettered(ctx context.Context, topic, reason string) {
	f.deadLetters.Add(ctx, 1, f.labels(topic, f.known(reason))...)
}

// Duplicate counts a record of the topic that had been processed before.
func (f *Failures) Duplicate(ctx context.Context, topic string) {
	f.duplicates.Add(ctx, 1, f.labels(topic, "")...)
}

// known folds reasons outside the set into one value, so that the series stay bounded.
func (f *Failures) known(reason string) string {
	if _, ok := f.reasons[reason]; !ok {
		return telemetry.LabelOther
	}
	return reason
}

// labels returns the kept options of a label set, making them the first time. Past the budget, a set not seen before
// is counted under _OTHER.
func (f *Failures) labels(topic, reason string) []metric.AddOption {
	key := failureLabels{topic, reason}
	f.mu.RLock()
	found := f.options[key]
	f.mu.RUnlock()
	if found != nil {
		return found
	}
	switch {
	case reason == "" && !f.topics.Admit(topic):
		key.topic = telemetry.LabelOther
	case reason != "" && !f.series.Admit(topic, reason):
		key = failureLabels{telemetry.LabelOther, telemetry.LabelOther}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if found = f.options[key]; found == nil {
		found = []metric.AddOption{metric.WithAttributeSet(key.set())}
		f.options[key] = found
	}
	return found
}

func (k failureLabels) set() attribute.Set {
	topic := attribute.String("topic", k.topic)
	if k.reason == "" {
		return attribute.NewSet(topic)
	}
	return attribute.NewSet(topic, attribute.String("reason", k.reason))
}
