package banking

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

const (
	// MaxEventSize is the largest value of a record, in bytes.
	MaxEventSize = 1 << 20
	// MaxIDLength is the longest event, order or user id and authorization code in an
	// event, in Unicode code points.
	MaxIDLength = 128
	// MaxReasonLength is the longest rejection reason, in Unicode code points.
	MaxReasonLength = 256
)

const acceptedTime = "an RFC 3339 time of the years 1 to 9999"

// Encode returns the record value of an event: one line of JSON, its time in UTC and
// cut to microseconds, its items never null.
//
// It holds the event against the rules of Decode first, so that what it returns can
// be decoded; errors satisfy errors.Is(err, ErrMalformed).
func Encode(e Event) ([]byte, error) {
	switch v := e.(type) {
	case OrderCreated:
		if v.Items == nil {
			v.Items = []string{}
		}
		v.CreatedAt = wireTime(v.CreatedAt)
		return encode(v, v.check())
	case PaymentAuthorized:
		v.ProcessedAt = wireTime(v.ProcessedAt)
		return encode(v, v.check())
	case PaymentRejected:
		v.ProcessedAt = wireTime(v.ProcessedAt)
		return encode(v, v.check())
	default:
		return nil, fmt.Errorf("encode %T: %w: not an event type", e, ErrMalformed)
	}
}

func encode(e Event, problem error) ([]byte, error) {
	if problem != nil {
		return nil, fmt.Errorf("encode %s: %w: %w", e.Type(), ErrMalformed, problem)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return nil, fmt.Errorf("encode %s: %w: %w", e.Type(), ErrMalformed, err)
	}
	value := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(value) > MaxEventSize {
		return nil, fmt.Errorf("encode %s: %w: %w", e.Type(), ErrMalformed, errEventSize())
	}
	return value, nil
}

// Decode reads the record value of an event whose type stands in the header
// HeaderEventType.
//
// Every field of the type is required, except items; fields that are not of the type
// are ignored. The time is returned in UTC, cut to microseconds. Errors satisfy
// errors.Is(err, ErrMalformed), hold a *FieldError where a field is to blame, and
// repeat nothing of the value.
func Decode(eventType string, value []byte) (Event, error) {
	var decode func([]byte) (Event, error)
	switch eventType {
	case TypeOrderCreated:
		decode = decodeOrderCreated
	case TypePaymentAuthorized:
		decode = decodePaymentAuthorized
	case TypePaymentRejected:
		decode = decodePaymentRejected
	default:
		return nil, fmt.Errorf("decode event: %w: unknown event type", ErrMalformed)
	}
	if len(value) > MaxEventSize {
		return nil, fmt.Errorf("decode %s: %w: %w", eventType, ErrMalformed, errEventSize())
	}
	e, err := decode(value)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w: %w", eventType, ErrMalformed, err)
	}
	return e, nil
}

func errEventSize() error {
	return &FieldError{"", "is too large", fmt.Sprintf("a value of at most %d bytes", MaxEventSize)}
}

// wireTime gives a time the zone and precision of the wire.
func wireTime(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// checkTime refuses times that are unset or that RFC 3339 cannot write.
func checkTime(name string, t time.Time) error {
	switch {
	case t.IsZero():
		return &FieldError{name, "is the zero time", acceptedTime}
	case t.Year() < 1 || t.Year() > 9999:
		return &FieldError{name, "is out of range", acceptedTime}
	}
	return nil
}

// checkItems refuses what encoding/json would silently replace.
func checkItems(items []string) error {
	for _, item := range items {
		if !utf8.ValidString(item) {
			return &FieldError{"items", "has an element that is not valid UTF-8", acceptedTexts(-1)}
		}
	}
	return nil
}

func checkStatus(status, expected string) error {
	if status != expected {
		return &FieldError{"status", "is not the one of the event's type", expected}
	}
	return nil
}

// checkCommon holds the fields of every event against the rules.
func checkCommon(eventID, orderID, userID string, amount Money) error {
	return firstError(
		checkText("eventId", eventID, MaxIDLength),
		checkText("orderId", orderID, MaxIDLength),
		checkText("userId", userID, MaxUserIDLength),
		checkMoney("amount", amount, math.MaxInt64),
	)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
