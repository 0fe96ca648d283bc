package banking

import (
	"bytes"
	"encoding/json"
)

// The functions of this file walk JSON that checkDocument has found valid.

// skipSeparators skips what stands between the values of valid JSON.
func skipSeparators(data []byte) []byte {
	return bytes.TrimLeft(data, " \t\r\n,:")
}

// valueEnd returns the length of the value that starts the valid JSON in data. It
// counts brackets instead of recursing, so that depth costs no stack.
func valueEnd(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i += stringEnd(data[i:]) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			continue
		default:
			i += scalarEnd(data[i:]) - 1
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(data)
}

// stringEnd returns the length of the string that data starts with, quotes included.
func stringEnd(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// scalarEnd returns the length of the number, true, false or null that data starts with.
func scalarEnd(data []byte) int {
	if end := bytes.IndexAny(data, ",:]} \t\r\n"); end >= 0 {
		return end
	}
	return len(data)
}

// unquote returns the text of a valid JSON string.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "" // not reached: raw is a valid JSON string
	}
	return s
}
