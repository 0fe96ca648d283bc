package audit

import (
	"testing"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/kafka"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

// Only what says plainly what became of a letter of the same topic is a
// marker; what a record had in its own headers when it was set aside is not.
func TestMarkers(t *testing.T) {
	at := Place{storage.Partition{Topic: banking.TopicOrdersDLQ, ID: 1}, 42}
	record := func(m storage.Message) kafka.Record {
		return kafka.Record{Partition: storage.Partition{Topic: banking.TopicOrdersDLQ}, Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	foreign := at
	foreign.Topic = banking.TopicPaymentsDLQ
	valued := record(markerFor(at, "k", purged))
	valued.Value = []byte{}
	inside := record(markerFor(at, "k", purged))
	inside.Topic = banking.TopicOrdersCreated
	for name, tt := range map[string]struct {
		record kafka.Record
		want   any
	}{
		"replayed":             {record(markerFor(at, "k", replayed)), marker{at, replayed}},
		"purged":               {record(markerFor(at, "k", purged)), marker{at, purged}},
		"unknown resolution":   {record(markerFor(at, "k", "gone")), nil},
		"of another topic":     {record(markerFor(foreign, "k", purged)), nil},
		"with a value":         {valued, nil},
		"no place":             {record(storage.Message{Headers: []storage.Header{{Key: kafka.HeaderResolves, Value: []byte("x")}}}), nil},
		"no header":            {record(storage.Message{}), nil},
		"set aside by a group": {record(deadLetter(inside, banking.GroupPaiement, kafka.ReasonMalformed)), letter{}},
	} {
		t.Run(name, func(t *testing.T) {
			id, got := decode(tt.record)
			switch want := tt.want.(type) {
			case marker:
				if got != want || id != "" {
					t.Errorf("%q %+v, want %+v", id, got, want)
				}
			case letter:
				if _, ok := got.(letter); !ok {
					t.Errorf("%T, want a letter", got)
				}
			default:
				if _, ok := got.(unreadable); !ok {
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
			f.Add(r.Topic, r.Key, r.Value, r.Header(banking.HeaderEventType), r.Header(kafka.HeaderResolves))
		}
	}
	f.Fuzz(func(t *testing.T, topic string, key, value []byte, eventType, resolves string) {
		r := kafka.Record{Partition: storage.Partition{Topic: topic}, Key: key, Value: value, Headers: []storage.Header{
			{Key: banking.HeaderEventType, Value: []byte(eventType)}, {Key: kafka.HeaderResolves, Value: []byte(resolves)},
			{Key: kafka.HeaderResolution, Value: []byte(purged)},
		}}
		l := NewLog()
		l.Add(r)
		l.Add(r)
		checkSums(t, Reconcile(l, newWorld().state(), w.now))
	})
}
