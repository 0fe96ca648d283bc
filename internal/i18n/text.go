// Package i18n has people told in their language what programs are told in English.
// A sentence is made once, as a [Text]: in English with what stands in it. It is put
// into a language when it is shown, so that logs, metrics and JSON stay as they are.
//
//   - text.go has texts, and errors that are made of them.
//   - language.go has languages: a file with the sentences of each, what it says of
//     a text, and which one the environment asks for.
//
// The English sentence is the key, so that code and templates can be read. Plural
// forms and figures follow CLDR, by golang.org/x/text.
package i18n

import (
	"fmt"
	"strings"
)

// Text is something that is said to people. The zero Text is the empty one. As JSON
// it is what it is in English.
type Text struct {
	format string // the key; "" where the arguments are all there is, one after the other
	args   []any
}

// Textf is a sentence. Arguments may be texts, errors and [Number]s too, which
// then are of the same language.
func Textf(format string, args ...any) Text { return Text{format, args} }

// Verbatim is a text that is the same in every language, such as a name.
func Verbatim(text string) Text {
	if text == "" {
		return Text{}
	}
	return Text{"", []any{text}}
}

// Phrase is a word or a sentence that somebody else made, which a language may have as
// a whole: where it does not, it stays as it is.
func Phrase(text string) Text {
	if text == "" || strings.Contains(text, "%") {
		return Verbatim(text)
	}
	return Text{text, nil}
}

// Join is one text after the other, with what stands between them.
func Join(between string, all ...Text) Text {
	var args []any
	for i, one := range all {
		if i > 0 {
			args = append(args, between)
		}
		args = append(args, one)
	}
	return Text{"", args}
}

// Number is a number as English writes it, with a decimal point.
type Number string

// Figure is a number by itself.
func Figure(n Number) Text { return Text{"", []any{n}} }

// IsZero says whether there is nothing to say.
func (t Text) IsZero() bool { return t.format == "" && len(t.args) == 0 }

// Equal says whether both say the same.
func (t Text) Equal(other Text) bool { return t.String() == other.String() }

// String is the text in English.
func (t Text) String() string {
	if t.format == "" {
		return joined(t.args, func(arg any) any { return arg })
	}
	return fmt.Sprintf(t.format, t.args...)
}

// MarshalText implements [encoding.TextMarshaler]: in English.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. What was said in English stays so.
func (t *Text) UnmarshalText(text []byte) error {
	*t = Verbatim(string(text))
	return nil
}

func joined(args []any, say func(any) any) string {
	var all strings.Builder
	for _, arg := range args {
		fmt.Fprint(&all, say(arg))
	}
	return all.String()
}

// spoken is an error that can be told in several languages.
type spoken struct {
	error // in English, with what it wraps
	text  Text
}

// Unwrap returns the error that [fmt.Errorf] made.
func (s *spoken) Unwrap() error { return s.error }

// Errorf is as [fmt.Errorf]: an error that [ErrorText] can put into a language. The key
// has %v where the format wraps an error.
func Errorf(format string, args ...any) error {
	return &spoken{fmt.Errorf(format, args...), Textf(strings.ReplaceAll(format, "%w", "%v"), args...)} //nolint:err113 // it is what makes errors
}

// ErrorText is what an error says, as far as it is one of [Errorf].
func ErrorText(err error) Text {
	if s, ok := err.(*spoken); ok { //nolint:errorlint // what was put around it says more
		return s.text
	}
	if err == nil {
		return Text{}
	}
	return Verbatim(err.Error())
}
