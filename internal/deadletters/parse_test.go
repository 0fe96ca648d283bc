package deadletters

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestMarkers(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	w := Whole{Letter: Letter{ID: record.At("orders.dlq", 2, 5)}, RecordKey: []byte("order-1")}
	good := marker(w, Resolution{record.Purged, at})
	if of, what, ok := parseMarker(read(good)); !ok || of != w.ID || what != (Resolution{record.Purged, at}) || string(good.Key) != "order-1" || good.Value != nil {
		t.Errorf("marker %+v = %v, %v, %v", good, of, what, ok)
	}
	with := func(name, value string) record.Message {
		m := marker(w, Resolution{record.Replayed, at})
		for i := range m.Headers {
			if m.Headers[i].Key == name {
				m.Headers[i].Value = []byte(value)
			}
		}
		return m
	}
	valued, hostile := with("", ""), letter{headers: with("", "").Headers}.message()
	valued.Value, hostile.Value = []byte{}, nil
	for name, m := range map[string]record.Message{
		"has a value":              valued,
		"of another topic":         with(record.HeaderResolves, "payments.dlq/2/5"),
		"of nothing":               with(record.HeaderResolves, ""),
		"unknown resolution":       with(record.HeaderResolution, "lost"),
		"no time":                  with(record.HeaderResolvedAt, "today"),
		"headers of a dead letter": hostile,
		"a dead letter":            letter{}.message(),
	} {
		if of, what, ok := parseMarker(read(m)); ok {
			t.Errorf("%s: marks %v as %v", name, of, what)
		}
	}
}
