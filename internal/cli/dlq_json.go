package cli

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
)

// jsonLetter is a letter for machines. Fields are added, never renamed.
type jsonLetter struct {
	ID                string          `json:"id"`
	Order             string          `json:"order"`
	Reason            string          `json:"reason"`
	Class             string          `json:"class,omitempty"`
	Message           string          `json:"message,omitempty"`
	Group             string          `json:"group,omitempty"`
	Attempts          int             `json:"attempts"`
	FailedAt          time.Time       `json:"failedAt"`
	OriginalTopic     string          `json:"originalTopic,omitempty"`
	OriginalPartition *int32          `json:"originalPartition,omitempty"`
	OriginalOffset    *int64          `json:"originalOffset,omitempty"`
	Resolution        *jsonResolution `json:"resolution"` // null while the letter waits
}

type jsonResolution struct {
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
}

func letterJSON(l deadletters.Letter) jsonLetter {
	out := jsonLetter{
		ID: l.ID.String(), Order: l.Key, Reason: l.Reason, Class: l.Class, Message: l.Message, Group: l.Group,
		Attempts: l.Attempts, FailedAt: l.FailedAt.UTC(),
	}
	if !l.Foreign() {
		out.OriginalTopic, out.OriginalPartition, out.OriginalOffset = l.Origin.Topic, &l.Origin.ID, &l.Origin.Offset
	}
	if l.Resolved() {
		out.Resolution = &jsonResolution{l.Resolution.Kind, l.Resolution.At}
	}
	return out
}

// jsonWhole is a letter with its record. A value that is JSON stands as it is,
// another one as base64.
type jsonWhole struct {
	jsonLetter
	Headers     []jsonHeader    `json:"headers"`
	Trace       []jsonHeader    `json:"trace"`
	Value       json.RawMessage `json:"value"`
	ValueBase64 []byte          `json:"valueBase64,omitempty"`
}

// jsonHeader is one header; text as it is, other bytes as base64.
type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
}

func wholeJSON(w deadletters.Whole) jsonWhole {
	out := jsonWhole{jsonLetter: letterJSON(w.Letter), Headers: headersJSON(w.Headers), Trace: headersJSON(w.Trace)}
	if json.Valid(w.Value) {
		out.Value = w.Value
	} else {
		out.ValueBase64 = w.Value
	}
	return out
}

func headersJSON(headers []record.Header) []jsonHeader {
	out := []jsonHeader{}
	for _, h := range headers {
		text := string(h.Value)
		if utf8.ValidString(text) {
			out = append(out, jsonHeader{Key: h.Key, Value: &text})
		} else {
			out = append(out, jsonHeader{Key: h.Key, ValueBase64: h.Value})
		}
	}
	return out
}
