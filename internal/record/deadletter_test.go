package record_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vigie-dev/vigie/internal/record"
)

func origin() record.Origin {
	return record.Origin{
		Place: record.At("orders.created", 2, 42), EventID: "event-1", Group: "paiement-svc", Attempts: 3,
		Class: "transient", Reason: "authoriser", Message: "no answer", FailedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
}

func header(key, value string) record.Header { return record.Header{Key: key, Value: []byte(value)} }

// letter is a dead letter of that origin, of a record with those headers.
func letter(o record.Origin, own ...record.Header) record.Record {
	return record.Record{
		Place: record.At("orders.dlq", 1, 7), Key: []byte("order-1"), Value: []byte("v"),
		Headers: slices.Concat(o.Headers(), own), Time: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC),
	}
}

// with is a letter one of whose headers says something else.
func with(name, value string) record.Record {
	r := letter(origin())
	for i, h := range r.Headers {
		if h.Key == name {
			r.Headers[i].Value = []byte(value)
		}
	}
	return r
}

func TestAnOriginIsReadAsItWasWritten(t *testing.T) {
	largest := origin()
	largest.Place = record.At("t", math.MaxInt32, math.MaxInt64)
	for name, o := range map[string]record.Origin{
		"of an order":      origin(),
		"largest numbers":  largest,
		"with empty texts": {Place: record.At("t", 0, 0), FailedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	} {
		own := []record.Header{header(record.HeaderOriginalTopic, "elsewhere"), header("x", "1"), header("x", "2")}
		got, original, err := record.ParseOrigin(letter(o, own...))
		if diff := cmp.Diff(o, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-written +read):\n%s", name, err, diff)
		}
		want := record.Record{Place: o.Place, Key: []byte("order-1"), Value: []byte("v"), Headers: own}
		if diff := cmp.Diff(want, original); diff != "" {
			t.Errorf("%s: the record (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatIsNoOrigin(t *testing.T) {
	added := origin().Headers()
	misplaced := slices.Clone(added)
	misplaced[1], misplaced[2] = misplaced[2], misplaced[1]
	for name, tt := range map[string]struct {
		letter record.Record
		want   error
	}{
		"no headers":              {record.Record{}, record.ErrNotDeadLetter},
		"too few headers":         {record.Record{Headers: added[:len(added)-1]}, record.ErrNotDeadLetter},
		"another header first":    {record.Record{Headers: append([]record.Header{header("x", "")}, added...)}, record.ErrNotDeadLetter},
		"headers in other order":  {record.Record{Headers: misplaced}, record.ErrNotDeadLetter},
		"no topic":                {with(record.HeaderOriginalTopic, ""), record.ErrOrigin},
		"a path for a topic":      {with(record.HeaderOriginalTopic, "orders.created/0"), record.ErrOrigin},
		"partition with a sign":   {with(record.HeaderOriginalPartition, "+1"), record.ErrOrigin},
		"partition with a zero":   {with(record.HeaderOriginalPartition, "01"), record.ErrOrigin},
		"negative partition":      {with(record.HeaderOriginalPartition, "-1"), record.ErrOrigin},
		"too large a partition":   {with(record.HeaderOriginalPartition, "2147483648"), record.ErrOrigin},
		"offset with an exponent": {with(record.HeaderOriginalOffset, "1e3"), record.ErrOrigin},
		"offset with a space":     {with(record.HeaderOriginalOffset, " 1"), record.ErrOrigin},
		"offset in hex":           {with(record.HeaderOriginalOffset, "0x1"), record.ErrOrigin},
		"offset with separators":  {with(record.HeaderOriginalOffset, "1_000"), record.ErrOrigin},
		"too large an offset":     {with(record.HeaderOriginalOffset, "9223372036854775808"), record.ErrOrigin},
		"no attempts":             {with(record.HeaderAttempts, ""), record.ErrOrigin},
		"attempts with a sign":    {with(record.HeaderAttempts, "+3"), record.ErrOrigin},
		"attempts with a zero":    {with(record.HeaderAttempts, "03"), record.ErrOrigin},
		"attempts in words":       {with(record.HeaderAttempts, "many"), record.ErrOrigin},
		"no time":                 {with(record.HeaderFailedAt, ""), record.ErrOrigin},
		"a time in words":         {with(record.HeaderFailedAt, "yesterday"), record.ErrOrigin},
	} {
		got, original, err := record.ParseOrigin(tt.letter)
		if !errors.Is(err, tt.want) || got != (record.Origin{}) || original.Topic != "" || original.Headers != nil {
			t.Errorf("%s: %+v, %+v, %v; want %v", name, got, original, err, tt.want)
		}
	}
}

// A record cannot make its dead letter much larger than itself.
func TestAddedHeadersAreBounded(t *testing.T) {
	o := origin()
	o.EventID, o.Message = strings.Repeat("x", 1<<20), strings.Repeat("y", 1<<20)
	size := 0
	for _, h := range o.Headers() {
		size += len(h.Key) + len(h.Value)
	}
	if size < 2<<10 || size > 3<<10 {
		t.Errorf("%d bytes were added", size)
	}
}

func headersOf(lines string) []record.Header {
	var out []record.Header
	for line := range strings.Lines(lines) {
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

// Whatever headers a record has, it is a letter, a marker or neither, and never
// both. What is read is what is written, and the record's own headers, a
// letter's names among them, come back as they were.
func FuzzDeadLetter(f *testing.F) {
	f.Add(linesOf(letter(origin(), header("eventId", "e")).Headers))
	f.Add(linesOf(letter(origin(), origin().Headers()...).Headers))
	f.Add(linesOf(with(record.HeaderOriginalOffset, "+1").Headers))
	f.Add("resolves=orders.dlq/1/2\nresolution=purged\nresolvedAt=2026-01-02T03:04:05Z\n")
	f.Add("resolves=orders.dlq/1/2\nresolution=purged\nresolvedAt=2026-01-02T03:04:05Z\noriginalEventId=e\n")
	f.Fuzz(func(t *testing.T, lines string) {
		r := record.Record{Place: record.At("orders.dlq", 1, 7), Key: []byte("k"), Headers: headersOf(lines)}
		o, original, err := record.ParseOrigin(r)
		m, noMarker := record.ParseMarker(r)
		if err == nil && noMarker == nil {
			t.Fatalf("both a letter from %v and a marker of %v", o.Place, m.Letter)
		}
		if noMarker == nil {
			again, err := record.ParseMarker(record.Record{Place: r.Place, Headers: m.Message(nil).Headers})
			if diff := cmp.Diff(m, again); err != nil || diff != "" {
				t.Errorf("written and read again: %v\n%s", err, diff)
			}
		}
		if err != nil {
			return
		}
		if len(o.Headers())+len(original.Headers) != len(r.Headers) || original.Place != o.Place || o.Place.ID < 0 || o.Place.Offset < 0 || o.Attempts < 0 {
			t.Errorf("%+v holds %+v", o, original)
		}
		written := record.Record{Headers: slices.Concat(o.Headers(), original.Headers)}
		again, originalAgain, err := record.ParseOrigin(written)
		if err != nil || !cmp.Equal(original.Headers, originalAgain.Headers, cmpopts.EquateEmpty()) {
			t.Fatalf("written and read again: %v, %v", err, originalAgain.Headers)
		}
		if again.Place != o.Place || again.Attempts != o.Attempts || !again.FailedAt.Equal(o.FailedAt) || !strings.HasPrefix(o.Message, again.Message) {
			t.Errorf("written and read again: %+v, was %+v", again, o)
		}
	})
}

func TestMarkers(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	marked := func(m record.Message) record.Record {
		return record.Record{Place: record.At("orders.dlq", 2, 6), Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	for _, m := range []record.Marker{
		{Letter: record.At("orders.dlq", 2, 5), Resolution: record.Replayed, At: at},
		{Letter: record.At("orders.dlq", 2, 5), Resolution: record.Purged, At: at}, // ends no order, or is of an earlier version
		{Letter: record.At("orders.dlq", 2, 5), Resolution: record.Purged, At: at, EventID: "event-1"},
	} {
		message := m.Message([]byte("order-1"))
		got, err := record.ParseMarker(marked(message))
		if err != nil || got != m || message.Topic != "orders.dlq" || string(message.Key) != "order-1" || message.Value != nil {
			t.Errorf("%+v is read as %+v, %v", message, got, err)
		}
	}
	spoilt := func(name, value string) record.Record {
		r := marked(record.Marker{Letter: record.At("orders.dlq", 2, 5), Resolution: record.Purged, At: at}.Message(nil))
		for i, h := range r.Headers {
			if h.Key == name {
				r.Headers[i].Value = []byte(value)
			}
		}
		return r
	}
	valued, inside := spoilt("", ""), letter(origin(), spoilt("", "").Headers...)
	valued.Value, inside.Value = []byte{}, nil
	for name, r := range map[string]record.Record{
		"no headers":               {Place: record.At("orders.dlq", 2, 6)},
		"has a value":              valued,
		"inside a dead letter":     inside,
		"of another topic":         spoilt(record.HeaderResolves, "payments.dlq/2/5"),
		"of nothing":               spoilt(record.HeaderResolves, ""),
		"of an offset with a sign": spoilt(record.HeaderResolves, "orders.dlq/2/+5"),
		"unknown resolution":       spoilt(record.HeaderResolution, "lost"),
		"no time":                  spoilt(record.HeaderResolvedAt, "today"),
	} {
		if got, err := record.ParseMarker(r); !errors.Is(err, record.ErrNotMarker) || got != (record.Marker{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
