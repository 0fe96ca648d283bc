package deadletters

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// read is a message as it is read from partition 1, offset 42.
func read(m record.Message) record.Record {
	return record.Record{
		Place: record.At(m.Topic, 1, 42),
		Key:   m.Key, Value: m.Value, Headers: m.Headers, Time: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC),
	}
}

func TestALetterIsReadAsItWasSetAside(t *testing.T) {
	own := []record.Header{
		header(record.HeaderEventID, "e"), header(record.HeaderOriginalTopic, "elsewhere"), header("x", "1"), header("x", "2"),
		header(record.HeaderResolves, "orders.dlq/0/0"),
	}
	trace := []record.Header{header("traceparent", traceparent), header("baggage", "a=b")}
	got := parseLetter(read(letter{key: "order-1", value: "v", headers: append(own[:len(own):len(own)], trace...)}.message()))
	want := Whole{
		Letter: Letter{
			ID: record.At("orders.dlq", 1, 42), Key: "order-1", Origin: record.At("orders.created", 0, 7), Group: "paiement-svc",
			Attempts: 3, Class: "transient", Reason: "authoriser", Message: "authoriser failed",
			FailedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		},
		RecordKey: []byte("order-1"), Value: []byte("v"), Headers: own, Trace: trace,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What does not say plainly where it comes from is foreign, and could lead a
// replay nowhere else than to its own topic's sources.
func TestAnythingElseIsForeign(t *testing.T) {
	for name, m := range map[string]record.Message{
		"no headers":           {Topic: banking.TopicOrdersDLQ},
		"another's topic":      letter{originTopic: banking.TopicPaymentsRejected}.message(),
		"a dead-letter topic":  letter{originTopic: banking.TopicOrdersDLQ}.message(),
		"no topic of ours":     letter{originTopic: "__consumer_offsets"}.message(),
		"a path in the topic":  letter{originTopic: "orders.created/0"}.message(),
		"negative partition":   letter{originPartition: "-1"}.message(),
		"too large partition":  letter{originPartition: "2147483648"}.message(),
		"offset is no number":  letter{originOffset: "1e3"}.message(),
		"offset with a plus":   letter{originOffset: "+1"}.message(),
		"attempts no number":   letter{attempts: "many"}.message(),
		"a reason of its own":  letter{reason: "\x1b[31mred"}.message(),
		"the reason 'foreign'": letter{reason: ReasonForeign}.message(),
	} {
		got := parseLetter(read(m))
		if !got.Foreign() || got.Origin != (record.Place{}) || got.Group != "" || len(got.Headers) != len(m.Headers) || !got.FailedAt.Equal(read(m).Time) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

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
		if marker, err := record.ParseMarker(r); err == nil && (valued || marker.Letter.Topic != m.Topic) {
			t.Errorf("marks %v", marker)
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
