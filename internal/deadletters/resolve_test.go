package deadletters

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

func deleteTopic(t *testing.T, f *fixture, topic string) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(f.cluster.Client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := f.cluster.Client.RefreshMetadata(); err != nil {
		t.Fatal(err)
	}
}

// deleteBefore does what retention does.
func deleteBefore(t *testing.T, f *fixture, id record.Place) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(f.cluster.Client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.DeleteRecords(id.Topic, map[int32]int64{id.ID: id.Offset}); err != nil {
		t.Fatal(err)
	}
}

// own are headers of a record, names of a dead letter's own among them.
func own(key string) []record.Header {
	return []record.Header{
		header(record.HeaderEventID, "event-"+key), header(record.HeaderEventType, banking.TypeOrderCreated),
		header(record.HeaderOriginalEventID, "its own"), header(record.HeaderAttempts, "-"), header("x", ""), header("x", "2"),
	}
}

// A replayed record is the original: key, value and headers as they were, on
// the topic it came from. Only the trace goes on.
func TestAReplayedRecordIsTheOriginal(t *testing.T) {
	f := newFixture(t)
	trace := []record.Header{header("traceparent", traceparent), header("tracestate", "v=1"), header("baggage", "shop=paris")}
	put := f.letters(
		letter{key: "order-1", value: `{"a":1}`, headers: append(own("order-1"), trace...)},
		letter{
			key: "order-2", value: "not JSON", topic: banking.TopicPaymentsDLQ, originTopic: banking.TopicPaymentsRejected,
			group: banking.GroupAnalyseur, headers: append(own("order-2"), trace...),
		},
	)
	for id, err := range f.replay(t.Context(), f.resolver, f.list(Filter{}).Letters) {
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for topic, want := range map[string]record.Record{
		banking.TopicOrdersCreated:    {Key: []byte("order-1"), Value: []byte(`{"a":1}`), Headers: own("order-1")},
		banking.TopicPaymentsRejected: {Key: []byte("order-2"), Value: []byte("not JSON"), Headers: own("order-2")},
	} {
		got := f.records(topic)
		if len(got) != 1 {
			t.Fatalf("%d records on %s", len(got), topic)
		}
		n := len(want.Headers)
		if diff := cmp.Diff(want.Headers, got[0].Headers[:n]); diff != "" || string(got[0].Key) != string(want.Key) || string(got[0].Value) != string(want.Value) {
			t.Errorf("%s: %q = %q, headers %s", topic, got[0].Key, got[0].Value, diff)
		}
		span := f.telemetry.Span("send " + topic)
		wantTrace := "00-" + traceID + "-" + span.SpanContext.SpanID().String() + "-01"
		if got[0].Header("traceparent") != wantTrace || got[0].Header("tracestate") != "v=1" || got[0].Header("baggage") != "shop=paris" ||
			len(got[0].Headers) != n+3 || span.Parent.SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("%s: headers %q, want traceparent %s", topic, got[0].Headers[n:], wantTrace)
		}
	}
	for _, id := range put { // the marker stands where the letter stands
		records := f.records(id.Topic)
		m := records[len(records)-1]
		if marker, err := record.ParseMarker(m); err != nil || marker.Letter != id || marker.Resolution != record.Replayed || m.ID != id.ID || !strings.Contains(m.Header("traceparent"), traceID) {
			t.Errorf("marker of %s: %v, %v", id, marker, err)
		}
		if mark, sent := f.telemetry.Span("send "+id.Topic), f.telemetry.Span("send "+records[0].Header(record.HeaderOriginalTopic)); mark.Parent.SpanID() != sent.SpanContext.SpanID() {
			t.Errorf("the marker's span is not a child of the replay's")
		}
	}
	if open := f.list(Filter{Open: true}); len(open.Letters) != 0 || open.Hidden != 2 {
		t.Errorf("open afterwards: %+v", open)
	}
}

// Null keys and values stay null, empty ones empty.
func TestNullStaysNull(t *testing.T) {
	f := newFixture(t)
	null, empty, both := letter{key: "e"}.message(), letter{key: "e"}.message(), letter{}.message()
	null.Value, both.Value, both.Key = nil, nil, nil
	f.put(null, empty, both)
	f.replay(t.Context(), f.resolver, f.list(Filter{}).Letters)
	var got []string
	for _, r := range f.records(banking.TopicOrdersCreated) {
		got = append(got, fmt.Sprintf("%s %v %v", r.Key, r.Key == nil, r.Value == nil))
	}
	if diff := cmp.Diff(map[string]bool{"e false true": true, "e false false": true, " true true": true}, set(got)); diff != "" {
		t.Error(diff)
	}
	if open := f.list(Filter{Open: true}).Letters; len(open) != 0 {
		t.Errorf("open: %v", ids(open))
	}
}

func set(texts []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range texts {
		out[s] = true
	}
	return out
}

// Letters that hold one record, as those of two groups or of several failed
// replays do, have it published once; replaying poison does not multiply it.
func TestOneRecordIsPublishedOnce(t *testing.T) {
	f := newFixture(t)
	same := []record.Header{header("eventId", "e")}
	f.letters(
		letter{key: "a", value: "v", headers: same},
		letter{key: "a", value: "v", headers: same, group: banking.GroupSuivi},
		letter{key: "a", value: "v", headers: append([]record.Header{header("traceparent", traceparent)}, same...), originOffset: "9"},
		letter{key: "a", value: "other", headers: same},
		letter{key: "a", value: "v"},
	)
	outcomes := f.replay(t.Context(), f.resolver, f.list(Filter{}).Letters)
	if len(outcomes) != 5 || errors.Join(values(outcomes)...) != nil {
		t.Errorf("outcomes %v", outcomes)
	}
	if n := len(f.records(banking.TopicOrdersCreated)); n != 3 {
		t.Errorf("%d records published, want 3", n)
	}
	if open := f.list(Filter{Open: true}); open.Hidden != 5 {
		t.Errorf("%d of 5 letters are resolved", open.Hidden)
	}
}

// Also when its letters fill several batches.
func TestOneRecordOfManyLettersIsPublishedOnce(t *testing.T) {
	f := newFixture(t)
	n := batchLetters + batchLetters/2
	var same []letter
	for range n {
		same = append(same, letter{key: "a", value: "v"})
	}
	f.letters(same...)
	f.replay(t.Context(), f.resolver, f.list(Filter{}).Letters)
	if sent, open := len(f.records(banking.TopicOrdersCreated)), f.list(Filter{Open: true}); sent != 1 || open.Hidden != n {
		t.Errorf("published %d times, %d of %d letters resolved", sent, open.Hidden, n)
	}
}

func values(m map[record.Place]error) (out []error) {
	for _, err := range m {
		out = append(out, err)
	}
	return out
}

// More than a batch, over all partitions.
func TestManyAreReplayed(t *testing.T) {
	f := newFixture(t)
	const n = 3*3*batchLetters + 17
	var many []record.Message
	for i := range n {
		many = append(many, letter{key: key(i), value: "v"}.message())
	}
	var batch []*sarama.ProducerMessage
	for _, m := range many {
		batch = append(batch, kafka.Outgoing(m))
	}
	if err := f.publisher.PublishAll(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	observed, largest := f.resolver, atomic.Int64{}
	observed.Publisher = counting{f.publisher, &largest}
	outcomes := f.replay(t.Context(), observed, f.list(Filter{}).Letters)
	if l := largest.Load(); l != batchLetters {
		t.Errorf("the largest batch has %d markers, want %d", l, batchLetters)
	}
	if records := len(f.records(banking.TopicOrdersDLQ)); records != 2*n {
		t.Errorf("%d records on the dead-letter topic, want a marker for each of %d letters", records, n)
	}
	if len(outcomes) != n || errors.Join(values(outcomes)...) != nil {
		t.Errorf("%d outcomes, %v", len(outcomes), errors.Join(values(outcomes)...))
	}
	seen := map[string]int{}
	for _, r := range f.records(banking.TopicOrdersCreated) {
		seen[string(r.Key)]++
	}
	for i := range n {
		if seen[key(i)] != 1 {
			t.Fatalf("%s was published %d times", key(i), seen[key(i)])
		}
	}
	if open := f.list(Filter{Open: true}); open.Hidden != n || len(open.Letters) != 0 {
		t.Errorf("%d resolved, %d open", open.Hidden, len(open.Letters))
	}
}

// Large letters are settled a few at a time.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	f := newFixture(t)
	const each = batchBytes/3 + 1
	var large []letter
	for i := range 7 {
		large = append(large, letter{key: "a", value: strconv.Itoa(i) + strings.Repeat("v", each)})
	}
	f.letters(large...)
	observed, most := f.resolver, atomic.Int64{}
	observed.Publisher = counting{f.publisher, &most}
	outcomes := f.replay(t.Context(), observed, f.list(Filter{}).Letters)
	if len(outcomes) != 7 || errors.Join(values(outcomes)...) != nil || most.Load() != 3 {
		t.Errorf("outcomes %v, batches of up to %d letters", outcomes, most.Load())
	}
}

// One record that Kafka refuses fails alone; a marker that it refuses leaves
// the letter listed, and a second replay completes it.
func TestFailuresLeaveLettersListed(t *testing.T) {
	f := newFixture(t)
	f.letters(letter{key: "a", value: "1"}, letter{key: "b", value: "2"}, letter{key: "c", value: "3"})
	f.put(record.Message{Topic: banking.TopicOrdersDLQ, Key: []byte("f"), Value: []byte("?")})
	refusing := f.resolver
	refusing.Publisher = failing{f.publisher, func(m *sarama.ProducerMessage) bool {
		k, _ := m.Key.Encode()
		return m.Topic == banking.TopicOrdersCreated && string(k) == "b"
	}}
	before := f.list(Filter{}).Letters
	outcomes := f.replay(t.Context(), refusing, before)
	for _, l := range before {
		want := map[string]error{"b": kafka.ErrUnacknowledged, "f": ErrForeign}[l.Key]
		if got := outcomes[l.ID]; !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", l.Key, got, want)
		}
	}
	left := f.list(Filter{Open: true}).Letters
	if keys(left) != "b f" {
		t.Errorf("still listed: %q", keys(left))
	}
	unmarking := f.resolver
	unmarking.Publisher = failing{f.publisher, func(m *sarama.ProducerMessage) bool { return m.Topic == banking.TopicOrdersDLQ }}
	if err := f.replay(t.Context(), unmarking, left)[left[0].ID]; !errors.Is(err, ErrUnmarked) {
		t.Errorf("without a marker: %v", err)
	}
	if got := f.list(Filter{Open: true}).Letters; keys(got) != "b f" {
		t.Errorf("still listed: %q", keys(got))
	}
	if err := f.replay(t.Context(), f.resolver, left)[left[0].ID]; err != nil {
		t.Error(err)
	}
	if got := f.list(Filter{Open: true}).Letters; keys(got) != "f" {
		t.Errorf("still listed: %q", keys(got))
	}
	if n := len(f.records(banking.TopicOrdersCreated)); n != 4 { // b twice
		t.Errorf("%d records published, want 4", n)
	}
}

// Ctrl-C before anything was read: nothing is published and every letter is
// reported.
func TestAnEndedContextTriesNothing(t *testing.T) {
	f := newFixture(t)
	f.letters(letter{key: "a"}, letter{key: "b"})
	letters := f.list(Filter{}).Letters
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	outcomes := f.replay(ctx, f.resolver, letters)
	for id, err := range outcomes {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if n := len(f.records(banking.TopicOrdersCreated)); n != 0 || len(outcomes) != 2 {
		t.Errorf("%d records published, %d letters reported", n, len(outcomes))
	}
}

// Ctrl-C while a batch is under way: it is finished, records and markers.
func TestABatchUnderWayIsFinished(t *testing.T) {
	f := newFixture(t)
	f.letters(letter{key: "a", value: "1"})
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := f.resolver
	interrupted.Publisher = failing{f.publisher, func(*sarama.ProducerMessage) bool { cancel(); return false }}
	for id, err := range f.replay(ctx, interrupted, f.list(Filter{}).Letters) {
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	if open := f.list(Filter{Open: true}); open.Hidden != 1 || len(f.records(banking.TopicOrdersCreated)) != 1 {
		t.Errorf("%+v", open)
	}
}

// Retention deletes a letter between list and replay.
func TestADeletedLetterIsReported(t *testing.T) {
	f := newFixture(t)
	put := f.letters(letter{key: "a", value: "1"}, letter{key: "a", value: "2"}, letter{key: "a", value: "3"})
	letters := f.list(Filter{}).Letters
	deleteBefore(t, f, put[2])
	outcomes := f.replay(t.Context(), f.resolver, letters)
	if !errors.Is(outcomes[put[0]], ErrGone) || !errors.Is(outcomes[put[1]], ErrGone) || outcomes[put[2]] != nil {
		t.Errorf("outcomes %v", outcomes)
	}
}

// A purged letter is published nowhere, and a purge is for good.
func TestPurge(t *testing.T) {
	f := newFixture(t)
	f.letters(letter{key: "a", value: "1"}, letter{key: "b", value: "2"}, orderLetter("order-1"))
	f.put(record.Message{Topic: banking.TopicPaymentsDLQ, Key: []byte("f"), Value: []byte("?")})
	n := 0
	if err := f.resolver.Purge(t.Context(), f.list(Filter{}).Letters, func(o Outcome) {
		n++
		if o.Err != nil {
			t.Error(o.Err)
		}
	}); err != nil || n != 4 {
		t.Errorf("Purge = %v, %d reported", err, n)
	}
	got := f.list(Filter{}).Letters
	for _, l := range got {
		if !l.Purged() {
			t.Errorf("%s: %+v", l.ID, l.Resolution)
		}
	}
	for id, err := range f.replay(t.Context(), f.resolver, got) {
		if !errors.Is(err, ErrPurged) {
			t.Errorf("replay of %s, which is purged: %v", id, err)
		}
	}
	if n := len(f.records(banking.TopicOrdersCreated)); n != 0 || len(got) != 4 {
		t.Errorf("%d records published, %d letters", n, len(got))
	}
	// The marker of an order's letter says which order it ends, and no other does.
	ends := map[string]string{}
	for _, r := range f.records(banking.TopicOrdersDLQ) {
		if m, err := record.ParseMarker(r); err == nil {
			ends[string(r.Key)] = m.EventID
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "", "b": "", "order-1": "event-order-1"}, ends); diff != "" {
		t.Errorf("markers end (-want +got):\n%s", diff)
	}
	// Another letter of the same order is ended with it.
	f.letters(orderLetter("order-1"))
	open := f.list(Filter{Open: true})
	if len(open.Letters) != 0 || open.Hidden != 5 {
		t.Errorf("open: %+v", open)
	}
}

// orderLetter holds an order that could not be decided.
func orderLetter(id string) letter {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	value, err := banking.Encode(banking.OrderCreated{
		EventID: "event-" + id, OrderID: id, UserID: "u", Amount: 1050, Status: banking.StatusCreated, CreatedAt: at,
	})
	if err != nil {
		panic(err)
	}
	return letter{key: id, value: string(value), headers: []record.Header{
		header(record.HeaderEventID, "event-"+id), header(record.HeaderEventType, banking.TypeOrderCreated),
	}}
}

// decide publishes the decision on an order.
func (f *fixture) decide(id, event string) {
	f.t.Helper()
	m, err := delivery.Encode(banking.PaymentAuthorized{
		EventID: banking.ResultEventID(event), OrderID: id, UserID: "u", Amount: 1050, Status: banking.StatusAuthorized,
		AuthorizationCode: "AUTH-1", ProcessedAt: time.Now(),
	}, event)
	if err != nil {
		f.t.Fatal(err)
	}
	f.put(m)
}

// A letter whose order was decided by another record of its event waits for
// nobody, and nothing may become of it any more.
func TestLettersOfDecidedOrdersAreLeftAlone(t *testing.T) {
	f := newFixture(t)
	suivis, second := orderLetter("order-1"), orderLetter("order-1")
	suivis.group, second.reason = banking.GroupSuivi, "contradictory"
	put := f.letters(orderLetter("order-1"), orderLetter("order-2"), orderLetter("order-3"), suivis, second)
	f.decide("order-1", "event-order-1")
	f.decide("order-2", "another")
	f.put(record.Message{Topic: banking.TopicPaymentsRejected, Key: []byte("order-3"), Value: []byte("{"), Headers: []record.Header{
		header(record.HeaderOriginalEventID, "event-order-3"),
	}})
	all := f.list(Filter{}).Letters
	for _, l := range all {
		if want := l.ID == put[0]; l.Decided() != want || !want && l.Resolved() || want && l.Decision != banking.StatusAuthorized {
			t.Errorf("%s of %s: decided %q", l.ID, l.Key, l.Decision)
		}
	}
	if open := f.list(Filter{Open: true}); len(open.Letters) != 4 || open.Decided != 1 || open.Hidden != 0 {
		t.Errorf("open: %+v", open)
	}
	for name, resolve := range map[string]func(context.Context, []Letter, func(Outcome)) error{"replay": f.resolver.Replay, "purge": f.resolver.Purge} {
		if err := resolve(t.Context(), all, func(o Outcome) {
			if got := errors.Is(o.Err, ErrDecided); got != (o.Letter.ID == put[0]) {
				t.Errorf("%s of %s: %v", name, o.Letter.ID, o.Err)
			}
		}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A decision that comes between the list and the marker, as while a question is
// asked, has the purge refused; one that comes with the marker is told as well.
func TestAPurgeLooksAtDecisionsAgain(t *testing.T) {
	f := newFixture(t)
	put := f.letters(orderLetter("order-1"), orderLetter("order-2"), orderLetter("order-3"))
	listing := f.list(Filter{Open: true})
	f.decide("order-1", "event-order-1")
	resolver := f.resolver
	resolver.Looked = listing.Looked
	resolver.Publisher = during{f.resolver.Publisher, func() { f.decide("order-2", "event-order-2") }}
	got := map[record.Place]error{}
	if err := resolver.Purge(t.Context(), listing.Letters, func(o Outcome) { got[o.Letter.ID] = o.Err }); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got[put[0]], ErrDecidedMeanwhile) || !errors.Is(got[put[1]], ErrDecidedMeanwhile) || got[put[2]] != nil {
		t.Errorf("purged: %v", got)
	}
	for _, r := range f.records(banking.TopicOrdersDLQ) {
		if _, err := record.ParseMarker(r); err == nil && string(r.Key) == "order-1" {
			t.Errorf("%s has a marker, though it was decided before", r.Key)
		}
	}
}

// during does something once records have been published.
type during struct {
	delivery.BatchPublisher
	then func()
}

func (d during) PublishAll(ctx context.Context, records []*sarama.ProducerMessage) error {
	err := d.BatchPublisher.PublishAll(ctx, records)
	d.then()
	return err
}

// Where an open transaction hides decisions, nothing is purged; where it hides the
// marker, the purge is not said to be done.
func TestAPurgeThatCannotBeRead(t *testing.T) {
	f := newFixture(t)
	f.letters(orderLetter("order-1"))
	listing := f.list(Filter{Open: true})
	if listing.Unread != nil {
		t.Errorf("nothing is hidden: %v", listing.Unread)
	}
	purge := func() error {
		t.Helper()
		var got error
		if err := f.resolver.Purge(t.Context(), listing.Letters, func(o Outcome) { got = o.Err }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	var hidden *kafka.HiddenError
	decisions := f.hide(banking.TopicPaymentsAuthorized)
	before := len(f.records(banking.TopicOrdersDLQ))
	if err := purge(); !errors.As(err, &hidden) || len(f.records(banking.TopicOrdersDLQ)) != before {
		t.Errorf("hidden decisions: %v", err)
	}
	if l := f.list(Filter{}); !errors.As(l.Unread, &hidden) {
		t.Errorf("the list does not say what it lacks: %v", l.Unread)
	}
	decisions()
	letters := f.hide(banking.TopicOrdersDLQ)
	if err := purge(); !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("a hidden marker: %v", err)
	}
	letters()
	if l := f.list(Filter{}); l.Unread != nil || !l.Letters[0].Purged() {
		t.Errorf("afterwards: %+v", l)
	}
}
