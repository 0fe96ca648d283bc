package delivery

import (
	"errors"
	"fmt"

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
