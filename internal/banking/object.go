package banking

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

const (
	acceptedObject = "exactly one JSON object in UTF-8"
	acceptedOnce   = "each field at most once"
)

// object holds the wanted members of a JSON object, each as raw, valid JSON.
type object map[string][]byte

// readObject checks that data is exactly one JSON object and collects the members
// named in wanted.
//
// It is stricter than encoding/json, which replaces bytes that are not UTF-8 and
// lone surrogates, matches names in any case and lets the last duplicate win: two
// readers of the same bytes could then see different orders. Other members are
// ignored, whatever they hold.
func readObject(data []byte, wanted ...string) (object, error) {
	if err := checkDocument(data); err != nil {
		return nil, err
	}
	found := make(object, len(wanted))
	for _, name := range wanted {
		found[name] = nil
	}
	rest := data[bytes.IndexByte(data, '{')+1:]
	for {
		rest = skipSeparators(rest)
		if rest[0] == '}' {
			return found, nil
		}
		end := valueEnd(rest)
		name := unquote(rest[:end])
		rest = skipSeparators(rest[end:])
		end = valueEnd(rest)
		if previous, ok := found[name]; ok {
			if previous != nil {
				return nil, &FieldError{name, "is given more than once", acceptedOnce}
			}
			found[name] = rest[:end]
		}
		rest = rest[end:]
	}
}

// checkDocument makes the functions below safe: they expect valid JSON.
func checkDocument(data []byte) error {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		return &FieldError{"", "is empty", acceptedObject}
	case !utf8.Valid(data):
		return &FieldError{"", "is not valid UTF-8", acceptedObject}
	case !json.Valid(data):
		return &FieldError{"", "is not exactly one valid JSON value", acceptedObject}
	case trimmed[0] != '{':
		return &FieldError{"", "is not a JSON object", acceptedObject}
	case hasLoneSurrogate(data):
		return &FieldError{"", "has a \\u escape that is half of a surrogate pair", acceptedObject}
	}
	return nil
}

// hasLoneSurrogate looks for \u escapes that denote no character (RFC 8259, section 8.2).
func hasLoneSurrogate(data []byte) bool {
	for {
		// In valid JSON a backslash stands only in strings and always starts an escape.
		at := bytes.IndexByte(data, '\\')
		if at < 0 {
			return false
		}
		unit := escapedUnit(data[at:])
		data = data[at+2:]
		if unit < 0xD800 || unit > 0xDFFF {
			continue
		}
		data = data[4:]
		if unit >= 0xDC00 {
			return true
		}
		if low := escapedUnit(data); low < 0xDC00 || low > 0xDFFF {
			return true
		}
		data = data[6:]
	}
}

// escapedUnit returns the UTF-16 unit of a \u escape that data starts with, else 0.
func escapedUnit(data []byte) uint64 {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return 0 // not reached on valid JSON
	}
	return unit
}
