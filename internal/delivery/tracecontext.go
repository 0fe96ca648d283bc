package delivery

import (
	"context"
	"slices"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/record"
)

// This file has how traces pass through the loop: in the headers of what a
// record causes, and as the links of what is done for a batch.

// carryContext gives outgoing records the process span's context, stored with
// them so that it survives the outbox. What a dead letter's original carried
// under these names gives way to it.
func (l *Loop[State, Change]) carryContext(ctx context.Context, messages []record.Message) {
	if len(messages) == 0 {
		return
	}
	carrier := &sarama.ProducerMessage{}
	l.deps.Instrument.Inject(ctx, carrier)
	fields := l.deps.Instrument.Fields()
	for i, m := range messages {
		headers := make([]record.Header, 0, len(m.Headers)+len(carrier.Headers))
		for _, h := range m.Headers {
			if !slices.Contains(fields, h.Key) {
				headers = append(headers, h)
			}
		}
		for _, h := range carrier.Headers {
			headers = append(headers, record.Header{Key: string(h.Key), Value: h.Value})
		}
		messages[i].Headers = headers
	}
}

// spansOf returns the process span of each decision.
func spansOf[Change any](decisions []decision[Change]) []trace.SpanContext {
	out := make([]trace.SpanContext, len(decisions))
	for i, d := range decisions {
		out[i] = trace.SpanContextFromContext(d.Context)
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
