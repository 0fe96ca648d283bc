package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

func ids(letters []Letter) (out []record.Place) {
	for _, l := range letters {
		out = append(out, l.ID)
	}
	return out
}

// keys are easier to read than ids.
func keys(letters []Letter) string {
	var out []string
	for _, l := range letters {
		out = append(out, l.Key)
	}
	return strings.Join(out, " ")
}

// choose is what List does with records that have been read.
func choose(t *testing.T, filter Filter, records []record.Record) Listing {
	t.Helper()
	l := newListing(filter, func() {})
	for _, r := range records {
		if !slices.Contains(filter.topics(), r.Topic) {
			continue // would not have been read
		}
		if err := l.add(r); err != nil {
			t.Fatal(err)
		}
	}
	l.resolve()
	return l.result()
}

func TestListChoosesAndSorts(t *testing.T) {
	f := newFixture(t)
	at := func(minutes int) time.Time { return time.Date(2026, 1, 1, 0, minutes, 0, 0, time.UTC) }
	put := f.letters(
		letter{key: "c", failedAt: at(3)},
		letter{key: "a", failedAt: at(1), group: banking.GroupSuivi, reason: "malformed"},
		letter{key: "b", failedAt: at(2), topic: banking.TopicPaymentsDLQ, originTopic: banking.TopicPaymentsRejected, group: banking.GroupAnalyseur},
		letter{key: "d", failedAt: at(4), originOffset: "8"},
	)
	f.put(record.Message{Topic: banking.TopicPaymentsDLQ, Key: []byte("f"), Value: []byte("?")}) // its own time: now
	f.put(record.Marker{Letter: put[3], Resolution: record.Purged, At: at(9)}.Message([]byte("d")))
	records := slices.Concat(f.records(banking.TopicOrdersDLQ), f.records(banking.TopicPaymentsDLQ))
	for name, tt := range map[string]struct {
		filter Filter
		want   string
		hidden int
	}{
		"all":               {Filter{}, "a b c d f", 0},
		"open":              {Filter{Open: true}, "a b c f", 1},
		"dead-letter topic": {Filter{Topic: banking.TopicOrdersDLQ}, "a c d", 0},
		"original topic":    {Filter{Topic: banking.TopicPaymentsRejected}, "b", 0},
		"group":             {Filter{Group: banking.GroupPaiement}, "c d", 0},
		"reason":            {Filter{Reason: "malformed"}, "a", 0},
		"foreign":           {Filter{Reason: ReasonForeign}, "f", 0},
		"order":             {Filter{Order: "c"}, "c", 0},
		"older":             {Filter{Before: at(3)}, "a b", 0},
		"newer":             {Filter{After: at(3)}, "d f", 0},
		"between":           {Filter{After: at(1), Before: at(4), Open: true}, "b c", 0},
		"ids":               {Filter{IDs: []record.Place{put[0], put[2], record.At("orders.dlq", 0, 999)}}, "b c", 0},
		"id of no topic":    {Filter{IDs: []record.Place{record.At("x", 0, 0)}}, "", 0},
		"id and open":       {Filter{IDs: []record.Place{put[3]}, Open: true}, "", 1},
		"all must apply":    {Filter{Group: banking.GroupPaiement, Reason: "malformed"}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := choose(t, tt.filter, records)
			if keys(got.Letters) != tt.want || got.Hidden != tt.hidden {
				t.Errorf("%q, %d hidden; want %q, %d", keys(got.Letters), got.Hidden, tt.want, tt.hidden)
			}
			if tt.filter.Narrow() != !slices.Contains([]string{"all", "open"}, name) {
				t.Errorf("Narrow() = %v", tt.filter.Narrow())
			}
		})
	}
	for _, filter := range []Filter{{}, {Open: true}, {Topic: banking.TopicPaymentsRejected}} {
		got := f.list(filter)
		got.Looked = nil // which choose does not know
		if diff := cmp.Diff(choose(t, filter, records), got); diff != "" {
			t.Errorf("List chooses differently from the broker:\n%s", diff)
		}
	}
	d := f.list(Filter{IDs: put[3:]}).Letters[0]
	if diff := cmp.Diff(Resolution{record.Purged, at(9)}, d.Resolution); diff != "" || !d.Resolved() {
		t.Error(diff)
	}
}

// What comes after a list has begun is not waited for, and progress ends at
// the total.
func TestListEndsAtTheEndThatItSaw(t *testing.T) {
	f := newFixture(t)
	const n = 500
	var many []record.Message
	for i := range n {
		many = append(many, letter{key: key(i), value: strings.Repeat("v", 1000)}.message())
	}
	f.put(many...)
	var done, total, calls int64
	added := false
	l, err := f.source.List(t.Context(), Filter{}, func(d, of int64) {
		if d < done {
			t.Errorf("progress went from %d to %d", done, d)
		}
		done, total, calls = d, of, calls+1
		if !added {
			added = true
			f.put(letter{key: "late"}.message())
		}
	})
	if err != nil || len(l.Letters) != n || done != n || total != n || calls != n {
		t.Errorf("%d letters, %v; progress %d of %d in %d calls", len(l.Letters), err, done, total, calls)
	}
	seen := map[record.Place]bool{}
	for _, letter := range l.Letters {
		seen[letter.ID] = true
	}
	if len(seen) != n {
		t.Errorf("%d different letters", len(seen))
	}
}

func TestLongTextsAreCutInAListAndWholeWhenOpened(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("k", 2000)
	f.letters(letter{key: long, value: "v"})
	l := f.list(Filter{Order: long}).Letters
	if len(l) != 1 || len(l[0].Key) > maxText+len("…") {
		t.Fatalf("%d letters", len(l))
	}
	err := f.source.Open(t.Context(), l, func(w Whole) error {
		if w.Key != long || string(w.RecordKey) != long || string(w.Value) != "v" {
			t.Errorf("opened with a key of %d bytes", len(w.Key))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestListStopsWithItsContext(t *testing.T) {
	f := newFixture(t)
	f.letters(letter{key: "a"}, letter{key: "b"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.source.List(ctx, Filter{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("List = %v", err)
	}
}

// Asking about letters creates no topics.
func TestTopicsThatAreMissingStayMissing(t *testing.T) {
	f := newFixture(t)
	missing := banking.TopicPaymentsDLQ
	deleteTopic(t, f, missing)
	if _, err := f.source.List(t.Context(), Filter{}, nil); !errors.Is(err, ErrNoTopic) || !strings.Contains(fmt.Sprint(err), missing) {
		t.Errorf("List = %v", err)
	}
	if _, err := f.source.List(t.Context(), Filter{Topic: banking.TopicOrdersCreated}, nil); err != nil {
		t.Errorf("List of the other topic = %v", err)
	}
	client, err := kafka.Connect(t.Context(), f.cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if topics, err := client.Topics(); err != nil || slices.Contains(topics, missing) {
		t.Errorf("topics %v, %v", topics, err)
	}
}
