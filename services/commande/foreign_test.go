package commande

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
)

// office is a desk at topics in memory.
type office struct {
	*Desk
	url string
	log *memlog.Log
}

func openOffice(t *testing.T) *office {
	t.Helper()
	o := &office{url: "sqlite:" + t.TempDir(), log: memlog.New(time.Now)}
	o.open(t)
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func (o *office) open(t *testing.T) {
	t.Helper()
	var err error
	if o.Desk, err = OpenDesk(t.Context(), o.url, o.log, storage.SystemClocks()); err != nil {
		t.Fatal(err)
	}
}

// place places an order, and returns its id.
func (o *office) place(t *testing.T) string {
	t.Helper()
	event, err := o.Place(t.Context(), "", "", banking.OrderRequest{UserID: "u", Amount: 1}, func(_ context.Context, e banking.OrderCreated) error {
		o.log.Append(message(t, e))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return event.OrderID
}

func TestEventsAreKnownAgain(t *testing.T) {
	ours, theirs := &issuer{secret: []byte("ours")}, &issuer{secret: []byte("theirs")}
	first, second := ours.event("order-1"), ours.event("order-1")
	if first == second {
		t.Errorf("two events of one order are both %s", first)
	}
	for name, tt := range map[string]struct {
		order, event string
		want         bool
	}{
		"its own":         {"order-1", first, true},
		"another order":   {"order-2", first, false},
		"another storage": {"order-1", theirs.event("order-1"), false},
		"a random id":     {"order-1", banking.NewEventID(), false},
		"no id":           {"order-1", "e", false},
		"none":            {"order-1", "", false},
	} {
		if got := ours.made(tt.order, tt.event); got != tt.want {
			t.Errorf("%s: made here is %v", name, got)
		}
	}
}

// An id that a stranger has used is not given, whether commande runs meanwhile or not,
// however it ends, and wherever among the coming ids it is.
func TestStrangersIDsAreLeftOut(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(*testing.T, *office) // the stranger and the next order
		want    []string
	}{
		"while it runs": {func(t *testing.T, o *office) {
			if err := o.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, []string{"order-3", "order-5"}},
		"over a clean stop": {func(t *testing.T, o *office) {
			if err := o.others.ids.release(t.Context()); err != nil {
				t.Fatal(err)
			}
			closed(t, o.store)
			o.open(t)
		}, []string{"order-3", "order-5"}},
		"over a crash": {func(t *testing.T, o *office) {
			closed(t, o.store)
			o.open(t)
		}, []string{"order-1001", "order-1003"}},
		"over a reset": {func(t *testing.T, o *office) {
			closed(t, o.store)
			s, err := OpenStorage(t.Context(), o.url)
			if err != nil {
				t.Fatal(err)
			}
			if foreign, err := SkipIDs(t.Context(), s, o.log); err != nil || foreign != 5 {
				t.Errorf("%d foreign records, %v", foreign, err)
			}
			closed(t, s)
			o.open(t)
		}, []string{"order-1001", "order-1003"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := openOffice(t)
			if id := o.place(t); id != "order-1" {
				t.Fatal(id)
			}
			for _, n := range []int64{2, 4, 1002, math.MaxInt64} {
				o.log.Append(orderMessage(t, banking.OrderID(n)))
			}
			o.log.Append(orderMessage(t, "order-2")) // once more
			tt.between(t, o)
			if got := []string{o.place(t), o.place(t)}; !slices.Equal(got, tt.want) {
				t.Errorf("the next orders are %v, want %v", got, tt.want)
			}
		})
	}
}

// What was left out stays so when its record is no longer in the log.
func TestStrangersIDsAreKept(t *testing.T) {
	o := openOffice(t)
	o.place(t)
	o.log.Append(orderMessage(t, "order-1002"))
	if err := o.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	for p := range int32(banking.Partitions) {
		o.log.Cut(record.Partition{Topic: banking.TopicOrdersCreated, ID: p}, math.MaxInt64)
	}
	closed(t, o.store)
	o.open(t)
	if got, want := []string{o.place(t), o.place(t)}, []string{"order-1001", "order-1003"}; !slices.Equal(got, want) {
		t.Errorf("the next orders are %v, want %v", got, want)
	}
}

// A stranger's order under an id that was given a moment ago is told.
func TestAStrangersClashIsTold(t *testing.T) {
	o := openOffice(t)
	found := map[string]int64{}
	o.others.count = func(_ context.Context, what string, n int64) { found[what] += n }
	o.others.log = slog.New(slog.DiscardHandler)
	id := o.place(t)
	o.log.Append(orderMessage(t, id))
	o.log.Append(orderMessage(t, "order-2"))
	for range 2 { // what was looked at is not looked at again
		if err := o.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found[foundTaken] != 1 || found[foundAhead] != 1 {
		t.Errorf("found %v, want one of each", found)
	}
}

// Of what commande publishes itself, nothing is read.
func TestOwnRecordsAreNotRead(t *testing.T) {
	p := record.Partition{Topic: banking.TopicOrdersCreated}
	w := &watch{parts: map[record.Partition]*seenRecords{}}
	w.begin([]kafka.Span{{Partition: p, End: 10}})
	for _, offset := range []int64{11, 10, 14, 9} {
		w.own(p, offset)
	}
	for end, want := range map[int64][]kafka.Span{
		10: nil, 12: nil,
		13: {{Partition: p, Start: 12, End: 13}},
		16: {{Partition: p, Start: 12, End: 14}, {Partition: p, Start: 15, End: 16}},
	} {
		if got := w.unread(map[record.Partition]int64{p: end}); !slices.Equal(got, want) {
			t.Errorf("up to %d it reads %v, want %v", end, got, want)
		}
	}
}

// An order of ours that the storage does not know says that this is an older copy:
// leaving ids out is for strangers alone.
func TestAnOlderCopyIsStillRefused(t *testing.T) {
	o := openOffice(t)
	o.place(t)
	o.log.Append(message(t, newEvent("order-1500", o.others.issuer.event("order-1500"), banking.OrderRequest{UserID: "u", Amount: 1}, time.Now())))
	closed(t, o.store)
	if d, err := OpenDesk(t.Context(), o.url, o.log, storage.SystemClocks()); err == nil {
		closed(t, d.store)
		t.Error("it starts")
	}
}
