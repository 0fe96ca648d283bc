package delivery

import (
	"context"
	"slices"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/record"
)

// spansOf returns the process span of each decision.
func spansOf[Change any](decisions []decision[Change]) []trace.SpanContext {
	out := make([]trace.SpanContext, len(decisions))
	for i, d := range decisions {
		out[i] = trace.SpanContextFromContext(d.Context)
	}
	return out
}

// publishers returns the process spans of those decisions that cause messages.
func publishers[Change any](decisions []decision[Change]) []trace.SpanContext {
	var out []trace.SpanContext
	for _, d := range decisions {
		if len(d.messages) > 0 {
			out = append(out, trace.SpanContextFromContext(d.Context))
		}
	}
	return out
}

// carriedSpans returns the process spans that caused messages which an earlier
// owner stored, each once: the messages carry them.
func (l *Loop[State, Change]) carriedSpans(messages []record.Message) []trace.SpanContext {
	var out []trace.SpanContext
	for _, m := range messages {
		carrier := &sarama.ConsumerMessage{}
		for _, h := range m.Headers {
			carrier.Headers = append(carrier.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		span := trace.SpanContextFromContext(l.deps.Instrument.Extract(context.Background(), carrier))
		same := func(s trace.SpanContext) bool { return s.SpanID() == span.SpanID() && s.TraceID() == span.TraceID() }
		if span.IsValid() && !slices.ContainsFunc(out, same) {
			out = append(out, span)
		}
	}
	return out
}
