package banking

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isNull says that a member is absent or null.
func isNull(raw []byte) bool { return len(raw) == 0 || raw[0] == 'n' }

// text returns a required string of 1 to limit runes.
func (o object) text(name string, limit int) (string, error) {
	raw := o[name]
	if isNull(raw) {
		return "", &FieldError{name, "is missing", acceptedText(limit)}
	}
	if raw[0] != '"' {
		return "", &FieldError{name, "is not a string", acceptedText(limit)}
	}
	s := unquote(raw)
	return s, checkText(name, s, limit)
}

// checkText holds a text against the rule that object.text states. Control
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

func acceptedText(limit int) string {
	return fmt.Sprintf("a string of 1 to %d characters, none of them a control character", limit)
}

// money returns a required amount above zero and at most limit.
func (o object) money(name string, limit Money) (Money, error) {
	raw := o[name]
	if isNull(raw) {
		return 0, &FieldError{name, "is missing", acceptedMoney(limit)}
	}
	m, err := ParseMoney(string(raw))
	switch {
	case errors.Is(err, ErrTooManyDecimals):
		return 0, &FieldError{name, "has more than two decimals", acceptedMoney(limit)}
	case errors.Is(err, ErrOutOfRange) && raw[0] != '-':
		return 0, &FieldError{name, "is too large", acceptedMoney(limit)}
	case errors.Is(err, ErrNotANumber):
		return 0, &FieldError{name, "is not a number", acceptedMoney(limit)}
	}
	return m, checkMoney(name, m, limit) // a negative amount out of range is 0 here
}

// checkMoney holds an amount against the rule that object.money states.
func checkMoney(name string, m, limit Money) error {
	switch {
	case m <= 0:
		return &FieldError{name, "is not above zero", acceptedMoney(limit)}
	case m > limit:
		return &FieldError{name, "is too large", acceptedMoney(limit)}
	}
	return nil
}

func acceptedMoney(limit Money) string {
	return fmt.Sprintf("a number above 0, at most %s, with at most two decimals", limit)
}

// texts returns an optional array of strings, never nil. A limit below zero does not apply.
func (o object) texts(name string, count int) ([]string, error) {
	raw := o[name]
	if isNull(raw) {
		return []string{}, nil
	}
	if raw[0] != '[' {
		return nil, &FieldError{name, "is not an array", acceptedTexts(count)}
	}
	list := []string{}
	for rest := skipSeparators(raw[1:]); rest[0] != ']'; rest = skipSeparators(rest) {
		end := valueEnd(rest)
		position := len(list) + 1
		if count >= 0 && position > count {
			return nil, &FieldError{name, "has too many elements", acceptedTexts(count)}
		}
		if rest[0] != '"' {
			return nil, &FieldError{name, fmt.Sprintf("has element %d that is not a string", position), acceptedTexts(count)}
		}
		list, rest = append(list, unquote(rest[:end])), rest[end:]
	}
	return list, nil
}

func acceptedTexts(count int) string {
	if count < 0 {
		return "an array of strings"
	}
	return fmt.Sprintf("an array of at most %d strings", count)
}
