package audit

import (
	"hash/maphash"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Only what says plainly what became of a letter of the same topic is a
// marker; what a record had in its own headers when it was set aside is not.
func TestMarkers(t *testing.T) {
	at := record.At(banking.TopicOrdersDLQ, 1, 42)
	of := func(m record.Message) record.Record {
		return record.Record{Place: record.At(banking.TopicOrdersDLQ, 0, 0), Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	foreign := at
	foreign.Topic = banking.TopicPaymentsDLQ
	valued := of(markerFor(at, "k", record.Purged))
	valued.Value = []byte{}
	inside := of(markerFor(at, "k", record.Purged))
	inside.Topic = banking.TopicOrdersCreated
	for name, tt := range map[string]struct {
		given record.Record
		want  any
	}{
		"replayed": {of(markerFor(at, "k", record.Replayed)), &marker{record.At(banking.TopicOrdersDLQ, 0, 0), at, record.Replayed, "", ""}},
		"purged":   {of(markerFor(at, "k", record.Purged)), &marker{record.At(banking.TopicOrdersDLQ, 0, 0), at, record.Purged, "", ""}},
		"purge of an order": {
			of(record.Marker{Letter: at, Resolution: record.Purged, At: markedAt(), EventID: "e"}.Message([]byte("k"))),
			&marker{record.At(banking.TopicOrdersDLQ, 0, 0), at, record.Purged, "k", "e"},
		},
		"unknown resolution":   {of(markerFor(at, "k", "gone")), nil},
		"of another topic":     {of(markerFor(foreign, "k", record.Purged)), nil},
		"with a value":         {valued, nil},
		"no place":             {of(record.Message{Headers: []record.Header{{Key: record.HeaderResolves, Value: []byte("x")}}}), nil},
		"no header":            {of(record.Message{}), nil},
		"set aside by a group": {of(deadLetter(inside, banking.GroupPaiement, delivery.ReasonMalformed)), letter{}},
	} {
		t.Run(name, func(t *testing.T) {
			id, got := decoder{maphash.MakeSeed()}.decode(tt.given)
			switch want := tt.want.(type) {
			case *marker:
				if m, ok := got.(*marker); !ok || *m != *want || id != want.orderID {
					t.Errorf("%q %+v, want %+v", id, got, want)
				}
			case letter:
				if _, ok := got.(*letter); !ok {
					t.Errorf("%T, want a letter", got)
				}
			default:
				if _, ok := got.(*unreadable); !ok {
					t.Errorf("%+v, want it unreadable", got)
				}
			}
		})
	}
}

// Records are whatever somebody sent.
func FuzzDecode(f *testing.F) {
	w, letter := refused()
	w.replay(letter)
	for _, records := range w.log {
		for _, r := range records {
			f.Add(r.Topic, r.Key, r.Value, r.Header(record.HeaderEventType), r.Header(record.HeaderResolves))
		}
	}
	f.Fuzz(func(t *testing.T, topic string, key, value []byte, eventType, resolves string) {
		r := record.Record{Place: record.At(topic, 0, 0), Key: key, Value: value, Headers: []record.Header{
			{Key: record.HeaderEventType, Value: []byte(eventType)}, {Key: record.HeaderResolves, Value: []byte(resolves)},
			{Key: record.HeaderResolution, Value: []byte(record.Purged)}, {Key: record.HeaderResolvedAt, Value: []byte("2026-05-01T12:00:00Z")},
		}}
		w := newWorld()
		w.log[r.Partition] = []record.Record{r, r}
		spans := []kafka.Span{{Partition: r.Partition, End: 2}}
		checkSums(t, reconcileAfter(w, spans, w.state(), time.Nanosecond))
	})
}
