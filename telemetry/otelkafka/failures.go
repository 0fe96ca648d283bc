package otelkafka

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// Failures counts the records of a consumer that could not simply be processed. Its methods are safe for
// concurrent use.
type Failures struct {
	failed, deadLetters, duplicates metric.Int64Counter
	reasons                         map[string]struct{}
}

// NewFailures returns the counters for the topics that t's service consumes and the closed set of reasons for
// which a record may fail. All of their series are exported as zero from the start.
func NewFailures(t *telemetry.Telemetry, topics, reasons []string) (*Failures, error) {
	f := &Failures{reasons: make(map[string]struct{}, len(reasons))}
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
		f.duplicates.Add(ctx, 0, topicLabel(topic))
		for _, reason := range reasons {
			f.failed.Add(ctx, 0, f.labels(topic, reason))
			f.deadLetters.Add(ctx, 0, f.labels(topic, reason))
		}
	}
	return f, nil
}

// Failed counts a record of the topic that failed for good.
func (f *Failures) Failed(ctx context.Context, topic, reason string) {
	f.failed.Add(ctx, 1, f.labels(topic, reason))
}

// DeadLettered counts a record of the topic that was set aside.
func (f *Failures) DeadLettered(ctx context.Context, topic, reason string) {
	f.deadLetters.Add(ctx, 1, f.labels(topic, reason))
}

// Duplicate counts a record of the topic that had been processed before.
func (f *Failures) Duplicate(ctx context.Context, topic string) {
	f.duplicates.Add(ctx, 1, topicLabel(topic))
}

// labels folds reasons outside the set into one value, so that the series stay bounded.
func (f *Failures) labels(topic, reason string) metric.AddOption {
	if _, ok := f.reasons[reason]; !ok {
		reason = telemetry.LabelOther
	}
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic), attribute.String("reason", reason)))
}

func topicLabel(topic string) metric.AddOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic)))
}
