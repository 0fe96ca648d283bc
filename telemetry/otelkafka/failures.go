package otelkafka

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// Failures counts the records of a consumer that could not simply be processed. Its methods are safe for
// concurrent use.
type Failures struct {
	failed, deadLetters, duplicates metric.Int64Counter
	reasons                         map[string]struct{}
	series                          *labels.Cache[failureLabels, []metric.AddOption]
}

// failureLabels is a label set; without a reason it is one of kafka_duplicates_total.
type failureLabels struct{ topic, reason string }

// NewFailures returns the counters for the topics that the service consumes and the closed set of reasons for
// which a record may fail. All of their series are exported as zero from the start.
func NewFailures(i *Instrumentation, topics, reasons []string) (*Failures, error) {
	f := &Failures{reasons: make(map[string]struct{}, len(reasons))}
	alone := i.instruments.Budget(catalogue.KafkaDuplicatesTotal, 1)
	reasoned := i.instruments.Budget(catalogue.KafkaMessagesFailedTotal, 1)
	f.series = labels.NewCache(func(k failureLabels) bool {
		if k.reason == "" {
			return alone.Admit(k.topic)
		}
		return reasoned.Admit(k.topic, k.reason)
	}, failureLabels.newOptions)
	var errs [3]error
	f.failed, errs[0] = i.instruments.Int64Counter(catalogue.KafkaMessagesFailedTotal)
	f.deadLetters, errs[1] = i.instruments.Int64Counter(catalogue.KafkaDeadLettersTotal)
	f.duplicates, errs[2] = i.instruments.Int64Counter(catalogue.KafkaDuplicatesTotal)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("count failures: %w", err)
	}
	for _, reason := range reasons {
		f.reasons[reason] = struct{}{}
	}
	ctx := context.Background()
	for _, topic := range topics {
		f.duplicates.Add(ctx, 0, f.options(topic, "")...)
		for _, reason := range reasons {
			f.failed.Add(ctx, 0, f.options(topic, reason)...)
			f.deadLetters.Add(ctx, 0, f.options(topic, reason)...)
		}
	}
	return f, nil
}

// CountFailed counts a record of the topic that failed for good.
func (f *Failures) CountFailed(ctx context.Context, topic, reason string) {
	f.failed.Add(ctx, 1, f.options(topic, f.known(reason))...)
}

// CountDeadLettered counts a record of the topic that was set aside.
func (f *Failures) CountDeadLettered(ctx context.Context, topic, reason string) {
	f.deadLetters.Add(ctx, 1, f.options(topic, f.known(reason))...)
}

// CountDuplicate counts a record of the topic that had been processed before.
func (f *Failures) CountDuplicate(ctx context.Context, topic string) {
	f.duplicates.Add(ctx, 1, f.options(topic, "")...)
}

// known folds reasons outside the set into one value, so that the series stay bounded.
func (f *Failures) known(reason string) string {
	if _, ok := f.reasons[reason]; !ok {
		return catalogue.LabelOther
	}
	return reason
}

// options returns those of a label set. Past the budget, a set not seen before is counted under _OTHER.
func (f *Failures) options(topic, reason string) []metric.AddOption {
	shared := failureLabels{topic: catalogue.LabelOther}
	if reason != "" {
		shared.reason = catalogue.LabelOther
	}
	return f.series.GetOr(failureLabels{topic, reason}, shared)
}

func (k failureLabels) newOptions() []metric.AddOption {
	list := []attribute.KeyValue{attribute.String("topic", k.topic)}
	if k.reason != "" {
		list = append(list, attribute.String("reason", k.reason))
	}
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(list...))}
}
