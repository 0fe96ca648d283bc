package banking

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// ErrMalformed says that an event breaks the wire contract: sending it again
// cannot help, so its record belongs among the dead letters.
var ErrMalformed = errors.New("malformed event")

const (
	// MaxEventSize is the largest value of a record, in bytes.
	MaxEventSize = 1 << 20
	// MaxIDLength is the longest event, order or user id and authorization code in an
	// event, in Unicode code points.
	MaxIDLength = 128
	// MaxReasonLength is the longest rejection reason, in Unicode code points.
	MaxReasonLength = 256
)

// Encode returns the record value of an event: one line of JSON, its time in UTC and
// cut to microseconds, its items never null.
//
// It checks the event against the rules of Decode first, so that what it
// returns can be decoded; errors satisfy errors.Is(err, ErrMalformed).
func Encode(e Event) ([]byte, error) {
	var problem error
	var value object
	switch v := e.(type) {
	case OrderCreated:
		v.CreatedAt = wireTime(v.CreatedAt)
		if problem = v.check(); problem == nil {
			value = v.object()
		}
	case PaymentAuthorized:
		v.ProcessedAt = wireTime(v.ProcessedAt)
		if problem = v.check(); problem == nil {
			value = v.object()
		}
	case PaymentRejected:
		v.ProcessedAt = wireTime(v.ProcessedAt)
		if problem = v.check(); problem == nil {
			value = v.object()
		}
	default:
		return nil, fmt.Errorf("encode %T: %w: not an event type", e, ErrMalformed)
	}
	if len(value) > MaxEventSize {
		problem = errEventSize()
	}
	if problem != nil {
		return nil, fmt.Errorf("encode %s: %w: %w", e.Type(), ErrMalformed, problem)
	}
	return value, nil
}

func (e OrderCreated) object() object {
	return newObject().text("eventId", e.EventID).text("orderId", e.OrderID).text("userId", e.UserID).money("amount", e.Amount).
		texts("items", e.Items).text("status", e.Status).time("createdAt", e.CreatedAt).end()
}

func (e PaymentAuthorized) object() object {
	return newObject().text("eventId", e.EventID).text("orderId", e.OrderID).text("userId", e.UserID).money("amount", e.Amount).
		text("status", e.Status).text("authorizationCode", e.AuthorizationCode).time("processedAt", e.ProcessedAt).end()
}

func (e PaymentRejected) object() object {
	return newObject().text("eventId", e.EventID).text("orderId", e.OrderID).text("userId", e.UserID).money("amount", e.Amount).
		text("status", e.Status).text("rejectionReason", e.RejectionReason).time("processedAt", e.ProcessedAt).end()
}

// object is a JSON object that is being written, as encoding/json writes the struct without escaping for HTML. Each order
// and each decision is written once: by reflection that takes four times as long, and six pieces of memory.
type object []byte

// newObject has room for what most events take.
func newObject() object { return make(object, 0, 256) }

func (o object) name(name string) object {
	before := byte(',')
	if len(o) == 0 {
		before = '{'
	}
	o = append(append(o, before, '"'), name...)
	return append(o, '"', ':')
}

func (o object) text(name, value string) object { return appendText(o.name(name), value) }

func (o object) money(name string, value Money) object { return value.append(o.name(name)) }

func (o object) texts(name string, values []string) object {
	o = append(o.name(name), '[')
	for i, v := range values {
		if i > 0 {
			o = append(o, ',')
		}
		o = appendText(o, v)
	}
	return append(o, ']')
}

func (o object) time(name string, value time.Time) object {
	return append(value.AppendFormat(append(o.name(name), '"'), time.RFC3339Nano), '"')
}

func (o object) end() object { return append(o, '}') }

// appendText writes a string. What is not all plain is left to encoding/json.
func appendText(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		b = append(append(b, '"'), s...)
		return append(b, '"')
	}
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string can always be written
	return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}

// Decode reads the record value of an event whose type stands in the header
// eventType.
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

func decodeOrderCreated(value []byte) (Event, error) {
	f := readFields(value, "eventId", "orderId", "userId", "amount", "items", "status", "createdAt")
	e := OrderCreated{
		EventID:   f.text("eventId", MaxIDLength),
		OrderID:   f.text("orderId", MaxIDLength),
		UserID:    f.text("userId", MaxUserIDLength),
		Amount:    f.amount(),
		Items:     f.texts("items", -1),
		Status:    f.status(StatusCreated),
		CreatedAt: f.time("createdAt"),
	}
	return e, f.err
}

func decodePaymentAuthorized(value []byte) (Event, error) {
	f := readFields(value, "eventId", "orderId", "userId", "amount", "status", "authorizationCode", "processedAt")
	e := PaymentAuthorized{
		EventID:           f.text("eventId", MaxIDLength),
		OrderID:           f.text("orderId", MaxIDLength),
		UserID:            f.text("userId", MaxUserIDLength),
		Amount:            f.amount(),
		Status:            f.status(StatusAuthorized),
		AuthorizationCode: f.text("authorizationCode", MaxIDLength),
		ProcessedAt:       f.time("processedAt"),
	}
	return e, f.err
}

func decodePaymentRejected(value []byte) (Event, error) {
	f := readFields(value, "eventId", "orderId", "userId", "amount", "status", "rejectionReason", "processedAt")
	e := PaymentRejected{
		EventID:         f.text("eventId", MaxIDLength),
		OrderID:         f.text("orderId", MaxIDLength),
		UserID:          f.text("userId", MaxUserIDLength),
		Amount:          f.amount(),
		Status:          f.status(StatusRejected),
		RejectionReason: f.text("rejectionReason", MaxReasonLength),
		ProcessedAt:     f.time("processedAt"),
	}
	return e, f.err
}

// check checks the event against the rules that decoding it applies.
func (e OrderCreated) check() error {
	return firstError(
		checkCommon(e.EventID, e.OrderID, e.UserID, e.Amount),
		checkItems(e.Items),
		checkStatus(e.Status, StatusCreated),
		checkTime("createdAt", e.CreatedAt),
	)
}

func (e PaymentAuthorized) check() error {
	return firstError(
		checkCommon(e.EventID, e.OrderID, e.UserID, e.Amount),
		checkStatus(e.Status, StatusAuthorized),
		checkText("authorizationCode", e.AuthorizationCode, MaxIDLength),
		checkTime("processedAt", e.ProcessedAt),
	)
}

func (e PaymentRejected) check() error {
	return firstError(
		checkCommon(e.EventID, e.OrderID, e.UserID, e.Amount),
		checkStatus(e.Status, StatusRejected),
		checkText("rejectionReason", e.RejectionReason, MaxReasonLength),
		checkTime("processedAt", e.ProcessedAt),
	)
}

// checkCommon checks the fields of every event against the rules.
func checkCommon(eventID, orderID, userID string, amount Money) error {
	return firstError(
		checkText("eventId", eventID, MaxIDLength),
		checkText("orderId", orderID, MaxIDLength),
		checkText("userId", userID, MaxUserIDLength),
		checkMoney("amount", amount),
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
