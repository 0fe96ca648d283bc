package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Decode reads a record's event. What it refuses is a [ClassReject] failure:
// a record that is not what its topic, headers and key promise stays that way.
// A dead letter is read by [record.ParseOrigin], whose record Decode takes.
func Decode(r record.Record) (banking.Event, error) {
	if len(r.Value) > banking.MaxEventSize {
		return nil, Reject(ReasonOversized, fmt.Errorf("the value has %d bytes, at most %d are accepted", len(r.Value), banking.MaxEventSize))
	}
	event, err := banking.Decode(r.Header(record.HeaderEventType), r.Value)
	switch {
	case err != nil:
		return nil, Reject(ReasonMalformed, err)
	case banking.TopicOf(event.Type()) != r.Topic:
		return nil, Reject(ReasonMalformed, fmt.Errorf("%s does not belong on %s", event.Type(), r.Topic))
	case event.Order() != string(r.Key):
		return nil, Reject(ReasonContradictory, errors.New("key and orderId differ"))
	case event.ID() != r.Header(record.HeaderEventID):
		return nil, Reject(ReasonContradictory, errors.New("header eventId and the value's eventId differ"))
	}
	return event, nil
}

// DecodeAs is [Decode] where one type of event is wanted.
func DecodeAs[E banking.Event](r record.Record) (E, error) {
	event, err := Decode(r)
	if err != nil {
		var none E
		return none, err
	}
	typed, ok := event.(E)
	if !ok {
		return typed, Reject(ReasonMalformed, fmt.Errorf("%s does not belong on %s", event.Type(), r.Topic))
	}
	return typed, nil
}

// Encode makes the message that publishes an event, caused by another event.
func Encode(event banking.Event, cause string) (record.Message, error) {
	value, err := banking.Encode(event)
	if err != nil {
		return record.Message{}, fmt.Errorf("encode %s of %s: %w", event.Type(), event.Order(), err)
	}
	return record.Message{
		Topic: banking.TopicOf(event.Type()),
		Key:   []byte(event.Order()),
		Value: value,
		Headers: []record.Header{
			{Key: record.HeaderEventID, Value: []byte(event.ID())},
			{Key: record.HeaderEventType, Value: []byte(event.Type())},
			{Key: record.HeaderOriginalEventID, Value: []byte(cause)},
		},
	}, nil
}

// complete makes messages ready to be stored: they carry the process span's
// context, and the dead letters among them fit into their topic.
func (l *Loop[State, Change]) complete(ctx context.Context, messages []record.Message) []record.Message {
	l.carryContext(ctx, messages)
	return l.fit(ctx, messages)
}

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

// fit cuts dead letters to what their topic takes. One whose origin alone is too
// large is left out, which the log says: its record stays where it stands, and
// the partition goes on.
func (l *Loop[State, Change]) fit(ctx context.Context, letters []record.Message) []record.Message {
	fitting := letters[:0]
	for _, m := range letters {
		if m, ok := l.fitTo(ctx, m, l.deps.Sizes.Of(m.Topic)); ok {
			fitting = append(fitting, m)
		}
	}
	return fitting
}

func (l *Loop[State, Change]) fitTo(ctx context.Context, letter record.Message, size int) (record.Message, bool) {
	cut, err := record.Fit(letter, size)
	if errors.Is(err, record.ErrNoRoom) {
		origin, _, _ := record.ParseOrigin(record.Record{Headers: letter.Headers})
		l.deps.Log.ErrorContext(ctx, "a dead letter has no room in its topic and is left out: raise its max.message.bytes with `vigie topics`",
			"topic", letter.Topic, "bytes", size, "record", origin.Place.String())
		return letter, false
	}
	return cut, true
}

// spansOf returns the process span of each decision.
func spansOf[Change any](decisions []decision[Change]) []trace.SpanContext {
	out := make([]trace.SpanContext, len(decisions))
	for i, d := range decisions {
		out[i] = trace.SpanContextFromContext(d.Context)
	}
	return out
}
