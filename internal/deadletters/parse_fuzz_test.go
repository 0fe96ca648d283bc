package deadletters

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// headersOf reads headers from lines "name=value".
func headersOf(text string) []record.Header {
	var out []record.Header
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		out = append(out, header(name, value))
	}
	return out
}

func linesOf(headers []record.Header) string {
	var b strings.Builder
	for _, h := range headers {
		b.WriteString(h.Key + "=" + string(h.Value) + "\n")
	}
	return b.String()
}

// Whatever a record on a dead-letter topic has for headers, it is a marker, a
// letter whose origin is a topic that leads here, or foreign; no header is lost.
func FuzzParse(f *testing.F) {
	for _, l := range []letter{
		{}, {key: "order-1", value: "{}", headers: headersOf("traceparent=" + traceparent + "\neventId=e\n")},
		{originTopic: "x/y"}, {originOffset: "-1"}, {reason: "?"}, {attempts: "99999999999999999999"},
	} {
		f.Add([]byte(l.key), []byte(l.value), true, linesOf(l.message().Headers))
	}
	f.Add([]byte("k"), []byte(nil), false, "resolves=orders.dlq/1/2\nresolution=purged\nresolvedAt=2026-01-02T03:04:05Z\n")
	f.Fuzz(func(t *testing.T, key, value []byte, valued bool, lines string) {
		m := record.Message{Topic: banking.TopicOrdersDLQ, Key: key, Headers: headersOf(lines)}
		if valued {
			m.Value = append([]byte{}, value...)
		}
		r := read(m)
		if of, what, ok := parseMarker(r); ok && (valued || of.Topic != m.Topic || what.At.IsZero() && what.Kind == "") {
			t.Errorf("marks %v as %v", of, what)
		}
		w := parseLetter(r)
		added := len(m.Headers) - len(w.Headers) - len(w.Trace)
		switch {
		case !bytes.Equal(w.Value, m.Value) || !bytes.Equal(w.RecordKey, key) || w.ID != record.At(m.Topic, 1, 42):
			t.Errorf("the record changed: %+v", w)
		case w.Foreign() && (added != 0 || w.Origin != record.Place{}):
			t.Errorf("foreign, with %d headers added and origin %v", added, w.Origin)
		case !w.Foreign() && (added == 0 || banking.DeadLetterTopic(w.Origin.Topic) != m.Topic || w.Attempts < 0):
			t.Errorf("%d headers added, origin %v", added, w.Origin)
		}
		if w.Foreign() {
			return
		}
		// What is restored and set aside once more is the same letter.
		again := record.Message{Topic: m.Topic, Key: key, Value: w.Value, Headers: append(append(
			r.Headers[:added:added], w.Headers...), w.Trace...)}
		if diff := cmp.Diff(w, parseLetter(read(again)), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if len(w.brief().Message) > maxText+len("…") || len(w.brief().Key) > maxText+len("…") {
			t.Error("brief is long")
		}
	})
}
