package kafka

import (
	"errors"
	"fmt"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// Decode reads a record's event. What it refuses is a [ClassReject] failure:
// a record that is not what its headers and key promise stays that way.
func Decode(r Record) (banking.Event, error) {
	if len(r.Value) > banking.MaxEventSize {
		return nil, Reject(ReasonOversized, fmt.Errorf("the value has %d bytes, at most %d are accepted", len(r.Value), banking.MaxEventSize))
	}
	event, err := banking.Decode(r.Header(banking.HeaderEventType), r.Value)
	switch {
	case err != nil:
		return nil, Reject(ReasonMalformed, err)
	case event.Order() != string(r.Key):
		return nil, Reject(ReasonContradictory, errors.New("key and orderId differ"))
	case event.ID() != r.Header(banking.HeaderEventID):
		return nil, Reject(ReasonContradictory, errors.New("header eventId and the value's eventId differ"))
	}
	return event, nil
}

// DecodeAs is [Decode] for topics that carry one type of event.
func DecodeAs[E banking.Event](r Record) (E, error) {
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
func Encode(event banking.Event, cause string) (storage.Message, error) {
	value, err := banking.Encode(event)
	if err != nil {
		return storage.Message{}, fmt.Errorf("encode %s of %s: %w", event.Type(), event.Order(), err)
	}
	return storage.Message{
		Topic: banking.TopicOf(event.Type()),
		Key:   []byte(event.Order()),
		Value: value,
		Headers: []storage.Header{
			{Key: banking.HeaderEventID, Value: []byte(event.ID())},
			{Key: banking.HeaderEventType, Value: []byte(event.Type())},
			{Key: banking.HeaderOriginalEventID, Value: []byte(cause)},
		},
	}, nil
}
