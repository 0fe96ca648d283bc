package banking

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// This file reads the members of a JSON object that came from elsewhere: a
// request's body or a record's value. It checks them against their rules and
// says which member breaks one, and why.

const (
	acceptedObject = "exactly one JSON object in UTF-8"
	acceptedOnce   = "each field at most once"
	acceptedTime   = "an RFC 3339 time of the years 1 to 9999"
)

// FieldError says which field of a JSON document was refused and why.
//
// It never contains the refused value. Functions return it as *FieldError;
// use errors.As with a *FieldError target.
type FieldError struct {
	// Field is the member's name, or "" for the document itself.
	Field string
	// Problem completes the sentence "<field> …", for example "is missing".
	Problem string
	// Accepted describes what would have been accepted, for example "a JSON object".
	Accepted string
}

// Error returns one English sentence without a final full stop.
func (e *FieldError) Error() string {
	subject := e.Field
	if subject == "" {
		subject = "the document"
	}
	return subject + " " + e.Problem + "; accepted is " + e.Accepted
}

// fields reads the wanted members of one JSON object. The first problem found
// stays in err, and what is read after it means nothing.
type fields struct {
	members []member
	err     error

	// What reading takes, in the same piece of memory.
	room    [mostFields]member
	decoder jsontext.Decoder
	unread  bytes.Buffer
}

// mostFields is how many are wanted of an object, at most.
const mostFields = 7

// member is one wanted member of the object; its value is nil until it is found.
type member struct {
	name  string
	value jsontext.Value
}

// readFields checks that data is exactly one JSON object and finds the members
// named in wanted.
//
// It is stricter than encoding/json, which replaces bytes that are not UTF-8 and
// lone surrogates, matches names in any case and lets the last duplicate win: two
// readers of the same bytes could then see different orders. Other members are
// ignored, whatever they hold.
func readFields(data []byte, wanted ...string) *fields {
	f := &fields{}
	f.members = f.room[:len(wanted)]
	for i, name := range wanted {
		f.members[i].name = name
	}
	d := f.decode(data)
	if d.PeekKind() != '{' {
		f.err = problemOf(data)
		return f
	}
	_, err := d.ReadToken() // the object's start
	for err == nil && d.PeekKind() == '"' {
		err = f.readMember(d, data)
	}
	if err == nil {
		_, err = d.ReadToken() // the object's end
	}
	if err == nil {
		_, err = d.ReadToken() // nothing may follow
	}
	if err != io.EOF { //nolint:errorlint // as io.Reader returns it, never wrapped
		f.keep(problemOf(data))
	}
	return f
}

// decode returns a decoder of data, in place of the one before.
func (f *fields) decode(data []byte) *jsontext.Decoder {
	f.unread = *bytes.NewBuffer(data)
	f.decoder.Reset(&f.unread, jsontext.AllowDuplicateNames(true))
	return &f.decoder
}

// readMember reads one name and its value.
func (f *fields) readMember(d *jsontext.Decoder, data []byte) error {
	quoted, err := d.ReadValue()
	if err != nil {
		return err
	}
	m := f.wanted(quoted)
	if m == nil {
		return d.SkipValue()
	}
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	if m.value != nil {
		f.keep(&FieldError{m.name, "is given more than once", acceptedOnce})
		return nil
	}
	end := d.InputOffset()
	m.value = data[end-int64(len(value)) : end] // value itself is the decoder's
	return nil
}

// wanted finds the wanted member with this name, or nil.
func (f *fields) wanted(quoted jsontext.Value) *member {
	var room [64]byte // spares an allocation for each name
	name, _ := jsontext.AppendUnquote(room[:0], quoted)
	for i := range f.members {
		if f.members[i].name == string(name) {
			return &f.members[i]
		}
	}
	return nil
}

// problemOf says why data is not exactly one JSON object.
func problemOf(data []byte) error {
	value := jsontext.Value(data)
	problem := "has a \\u escape that is half of a surrogate pair"
	switch {
	case len(bytes.TrimLeft(data, " \t\r\n")) == 0:
		problem = "is empty"
	case !utf8.Valid(data):
		problem = "is not valid UTF-8"
	case !value.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)):
		problem = "is not exactly one valid JSON value"
	case value.Kind() != '{':
		problem = "is not a JSON object"
	}
	return &FieldError{"", problem, acceptedObject}
}

// keep remembers the first problem.
func (f *fields) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

// value returns a wanted member's value, nil where it is missing or null.
func (f *fields) value(name string) jsontext.Value {
	for i := range f.members {
		if m := &f.members[i]; m.name == name && len(m.value) > 0 && m.value.Kind() != 'n' {
			return m.value
		}
	}
	return nil
}

// text reads a required string of 1 to limit runes.
func (f *fields) text(name string, limit int) string {
	raw := f.value(name)
	switch {
	case raw == nil:
		f.keep(&FieldError{name, "is missing", acceptedText(limit)})
		return ""
	case raw.Kind() != '"':
		f.keep(&FieldError{name, "is not a string", acceptedText(limit)})
		return ""
	}
	s := unquote(raw)
	f.keep(checkText(name, s, limit))
	return s
}

// amount reads the required amount, which is above zero and at most [MaxAmount].
func (f *fields) amount() Money {
	const name = "amount"
	raw := f.value(name)
	if raw == nil {
		f.keep(&FieldError{name, "is missing", acceptedMoney()})
		return 0
	}
	m, err := ParseMoney(string(raw))
	switch {
	case errors.Is(err, ErrTooManyDecimals):
		f.keep(&FieldError{name, "has more than two decimals", acceptedMoney()})
	case errors.Is(err, ErrOutOfRange) && raw[0] != '-':
		f.keep(&FieldError{name, "is too large", acceptedMoney()})
	case errors.Is(err, ErrNotANumber):
		f.keep(&FieldError{name, "is not a number", acceptedMoney()})
	default: // a negative amount out of range is 0 here
		f.keep(checkMoney(name, m))
	}
	return m
}

// texts reads an optional array of strings, never nil. A count below zero does
// not limit it.
func (f *fields) texts(name string, count int) []string {
	list := []string{}
	raw := f.value(name)
	if raw == nil {
		return list
	}
	if raw.Kind() != '[' {
		f.keep(&FieldError{name, "is not an array", acceptedTexts(count)})
		return list
	}
	d := f.decode(raw)
	_, err := d.ReadToken() // the array's start
	for err == nil && d.PeekKind() != ']' {
		switch position := len(list) + 1; {
		case count >= 0 && position > count:
			f.keep(&FieldError{name, "has too many elements", acceptedTexts(count)})
			return list
		case d.PeekKind() != '"':
			f.keep(&FieldError{name, fmt.Sprintf("has element %d that is not a string", position), acceptedTexts(count)})
			return list
		}
		var element jsontext.Token
		if element, err = d.ReadToken(); err == nil {
			if cap(list) == 0 {
				list = make([]string, 0, 4) // as many as most have
			}
			list = append(list, element.String())
		}
	}
	if err != nil { // not reached: readFields has read it before
		f.keep(&FieldError{name, "is not an array", acceptedTexts(count)})
	}
	return list
}

// status reads the status, of which only the expected one is accepted.
func (f *fields) status(expected string) string {
	raw := f.value("status")
	if raw == nil || raw.Kind() != '"' {
		f.keep(&FieldError{"status", "is missing or not the one of the event's type", expected})
		return ""
	}
	s := unquote(raw)
	f.keep(checkStatus(s, expected))
	return s
}

// time reads a required time, in UTC and cut to microseconds.
func (f *fields) time(name string) time.Time {
	raw := f.value(name)
	if raw == nil {
		f.keep(&FieldError{name, "is missing", acceptedTime})
		return time.Time{}
	}
	var t time.Time
	// Unlike time.Parse, UnmarshalText holds to the grammar of RFC 3339. Its error
	// quotes the value, so it is not passed on.
	if raw.Kind() != '"' || t.UnmarshalText([]byte(unquote(raw))) != nil {
		f.keep(&FieldError{name, "is not a time", acceptedTime})
		return time.Time{}
	}
	t = wireTime(t)
	f.keep(checkTime(name, t))
	return t
}

// unquote returns the text of a valid JSON string.
func unquote(raw jsontext.Value) string {
	var room [128]byte                               // spares an allocation for what is not longer
	text, _ := jsontext.AppendUnquote(room[:0], raw) // readFields has found it valid
	return string(text)
}

// checkText checks a text against the rule that fields.text states. Control
// characters could forge a line of log, and NUL fits in no database's text.
func checkText(name, s string, limit int) error {
	switch {
	case s == "":
		return &FieldError{name, "is empty", acceptedText(limit)}
	case !utf8.ValidString(s):
		return &FieldError{name, "is not valid UTF-8", acceptedText(limit)}
	case utf8.RuneCountInString(s) > limit:
		return &FieldError{name, "is too long", acceptedText(limit)}
	case strings.ContainsFunc(s, unicode.IsControl):
		return &FieldError{name, "has a control character", acceptedText(limit)}
	}
	return nil
}

// checkMoney checks an amount against the rule that fields.amount states.
func checkMoney(name string, m Money) error {
	switch {
	case m <= 0:
		return &FieldError{name, "is not above zero", acceptedMoney()}
	case m > MaxAmount:
		return &FieldError{name, "is too large", acceptedMoney()}
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

func acceptedText(limit int) string {
	return fmt.Sprintf("a string of 1 to %d characters, none of them a control character", limit)
}

func acceptedMoney() string {
	return fmt.Sprintf("a number above 0, at most %s, with at most two decimals", MaxAmount)
}

func acceptedTexts(count int) string {
	if count < 0 {
		return "an array of strings"
	}
	return fmt.Sprintf("an array of at most %d strings", count)
}
