// Package secret keeps passwords and tokens out of what people read: a value
// prints as a mark wherever it is formatted, logged or encoded, and is revealed
// in the one place that sends it.
package secret

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/vigie-dev/vigie/internal/files"
)

// mark is what a secret looks like.
const mark = "[secret]"

// ErrFile: a file with a secret cannot be used.
var ErrFile = errors.New("secret file")

// Value is a secret. The zero value is none.
type Value struct{ text string }

// Of makes a secret of a text.
func Of(text string) Value { return Value{text} }

// Read takes a secret from a file, without the line end that editors leave at
// its end. It returns [ErrFile] where the file cannot be read, is empty, or is
// larger than [files.MaxSize].
func Read(path string) (Value, error) {
	text, err := files.Read(path)
	if err != nil && !errors.Is(err, files.ErrTooLarge) {
		return Value{}, fmt.Errorf("%w: %w", ErrFile, err)
	}
	text = bytes.TrimRight(text, "\r\n")
	if err != nil || len(text) == 0 {
		return Value{}, fmt.Errorf("%w %s: want 1 to %d bytes", ErrFile, path, files.MaxSize)
	}
	return Value{string(text)}, nil
}

// Reveal is the secret itself, for the code that has to send it.
func (v Value) Reveal() string { return v.text }

// Present says whether there is one.
func (v Value) Present() bool { return v.text != "" }

// Is says whether a text is the secret; nothing is no secret. How long that takes reveals
// nothing about it.
func (v Value) Is(text string) bool {
	want, got := sha256.Sum256([]byte(v.text)), sha256.Sum256([]byte(text))
	return v.Present() && subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// Format implements [fmt.Formatter], for every verb.
func (v Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, mark) }

// LogValue implements [slog.LogValuer].
func (v Value) LogValue() slog.Value { return slog.StringValue(mark) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (v Value) MarshalText() ([]byte, error) { return []byte(mark), nil }
