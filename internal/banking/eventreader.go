package banking

import (
	"math"
	"time"
)

// eventReader reads the fields of an event and keeps the first error.
type eventReader struct {
	fields object
	err    error
}

func (r *eventReader) text(name string, limit int) string {
	s, err := r.fields.text(name, limit)
	r.keep(err)
	return s
}

func (r *eventReader) money(name string) Money {
	m, err := r.fields.money(name, math.MaxInt64)
	r.keep(err)
	return m
}

func (r *eventReader) texts(name string) []string {
	list, err := r.fields.texts(name, -1)
	r.keep(err)
	return list
}

// status returns the expected status, which is the only one accepted.
func (r *eventReader) status(expected string) string {
	s, err := r.fields.text("status", len(expected))
	if err != nil {
		r.keep(&FieldError{"status", "is missing or not the one of the event's type", expected})
		return ""
	}
	r.keep(checkStatus(s, expected))
	return s
}

func (r *eventReader) time(name string) time.Time {
	raw := r.fields[name]
	if isNull(raw) {
		r.keep(&FieldError{name, "is missing", acceptedTime})
		return time.Time{}
	}
	var t time.Time
	// Unlike time.Parse, UnmarshalText holds to the grammar of RFC 3339. Its error
	// quotes the value, so it is not passed on.
	if raw[0] != '"' || t.UnmarshalText([]byte(unquote(raw))) != nil {
		r.keep(&FieldError{name, "is not a time", acceptedTime})
		return time.Time{}
	}
	t = wireTime(t)
	r.keep(checkTime(name, t))
	return t
}

func (r *eventReader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// result returns e, or the first error that reading it met.
func (r *eventReader) result(e Event) (Event, error) {
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}
