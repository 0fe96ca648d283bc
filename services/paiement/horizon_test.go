package paiement

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
)

// What the ledger forgets is not decided again, whatever brings it back.
func TestAForgottenOrderIsNotDecidedAgain(t *testing.T) {
	onEach(t, testAForgottenOrderIsNotDecidedAgain)
}

func testAForgottenOrderIsNotDecidedAgain(t *testing.T, empty maker) {
	d := deciderOn(openStore(t, empty))
	if err := storeAll(t.Context(), d, decided(t, "order-1", "order-2")); err != nil {
		t.Fatal(err)
	}
	forget := func(before time.Time) {
		t.Helper()
		if err := d.store.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := d.store.Forget(t.Context(), tx, before, 1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	forget(now()) // nothing is older
	if from, err := decidesFrom(t, d.store); err != nil || !from.IsZero() {
		t.Errorf("nothing was forgotten: decides from %v, %v", from, err)
	}
	forget(now().Add(time.Second))
	batch := []record.Record{recordOf(t, order("order-1"), nil)}
	state, err := d.Load(t.Context(), batch)
	if err != nil || len(state.settled) != 0 {
		t.Fatalf("not forgotten: %v, %v", state, err)
	}
	_, _, err = d.Handle(t.Context(), state, batch[0])
	var failure *delivery.Failure
	if !errors.As(err, &failure) || failure.Reason != delivery.ReasonTooOld || !strings.Contains(err.Error(), "--decide-from=") {
		t.Errorf("a forgotten order: %v", err)
	}
	// The horizon never goes back by itself.
	high := state.horizon.from
	if err := d.store.Update(t.Context(), func(tx *storage.Tx) error { return raise(t.Context(), tx, high.Add(-time.Hour)) }); err != nil {
		t.Fatal(err)
	}
	if from, err := decidesFrom(t, d.store); err != nil || !from.Equal(high) {
		t.Errorf("decides from %v, %v; want %v", from, err, high)
	}
}

func TestTheHorizonIsLoweredOnRequest(t *testing.T) {
	s := store{openSQLite(t)}
	high := now().UTC().Truncate(time.Microsecond)
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	for _, step := range []struct {
		text   string
		want   time.Time
		logged bool
	}{
		{"", high, false},
		{high.Add(time.Hour).Format(time.RFC3339), high, false}, // it is lower already
		{high.Add(-time.Hour).Format(time.RFC3339Nano), high.Add(-time.Hour), true},
		{"all", time.Time{}, true},
		{"all", time.Time{}, false},
	} {
		if step.text == "" {
			if err := s.Update(t.Context(), func(tx *storage.Tx) error { return raise(t.Context(), tx, high) }); err != nil {
				t.Fatal(err)
			}
		}
		from, err := ParseDecideFrom(step.text)
		if err != nil {
			t.Fatal(err)
		}
		logged.Reset()
		if err := from.apply(t.Context(), s, log); err != nil {
			t.Fatal(err)
		}
		if got, err := decidesFrom(t, s); err != nil || !got.Equal(step.want) || (logged.Len() > 0) != step.logged {
			t.Errorf("%q: decides from %v (%v), want %v; logged %q", step.text, got, err, step.want, logged.String())
		}
	}
	for _, text := range []string{"yesterday", "2026-11-28", "ALL", "1969-01-01T00:00:00Z"} {
		if _, err := ParseDecideFrom(text); !errors.Is(err, ErrDecideFrom) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A purge binds from the moment in which it stands in the topic, before the
// ledger has taken it, and for good afterwards.
func TestAPurgeBinds(t *testing.T) { onEach(t, testAPurgeBinds) }

func testAPurgeBinds(t *testing.T, empty maker) {
	l := memlog.New(now)
	s := openStore(t, empty)
	d := deciderOn(s)
	d.purges = newUnread(d.store, l)
	d.authoriser = Simulation{}
	order1, order2 := recordOf(t, order("order-1"), nil), recordOf(t, order("order-2"), nil)
	class := func(r record.Record) delivery.Class {
		t.Helper()
		state, err := d.Load(t.Context(), []record.Record{r})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Handle(t.Context(), state, r)
		if err == nil {
			return -1
		}
		return delivery.ClassOf(err)
	}
	if got := class(order1); got != -1 {
		t.Errorf("before: class %v", got)
	}
	place := purge(l, "order-1", "event-of-order-1")
	if got := class(order1); got != delivery.ClassDuplicate {
		t.Errorf("in the topic: class %v", got)
	}
	if got := class(order2); got != -1 {
		t.Errorf("another order: class %v", got)
	}
	// The loop takes it into the ledger.
	marker := l.Records(place.Partition)[0]
	state, err := d.Load(t.Context(), []record.Record{marker})
	if err != nil {
		t.Fatal(err)
	}
	change, messages, err := d.Handle(t.Context(), state, marker)
	if err != nil || change == nil || messages != nil || change.Status != banking.StatusPurged || change.EventID != "event-of-order-1" {
		t.Fatalf("the marker: %+v, %v, %v", change, messages, err)
	}
	if err := storeAll(t.Context(), d, []delivery.Decided[*LedgerRow]{{Context: t.Context(), Change: change}}); err != nil {
		t.Fatal(err)
	}
	if err := s.StartAt(t.Context(), place.Partition, place.Offset+1); err != nil {
		t.Fatal(err)
	}
	purge(l, "order-3", "event-of-order-3") // has the ledger's position looked at
	if got := class(order1); got != delivery.ClassDuplicate {
		t.Errorf("in the ledger: class %v", got)
	}
	again := order("order-1")
	again.EventID = "another"
	if got := class(recordOf(t, again, nil)); got != delivery.ClassReject {
		t.Errorf("another event of the purged order: class %v", got)
	}
	// Of a decision and a purge the first is final.
	if err := storeAll(t.Context(), d, decided(t, "order-1")); !errors.Is(err, storage.ErrFenced) {
		t.Errorf("a decision after the purge: %v", err)
	}
	if err := storeAll(t.Context(), d, decided(t, "order-2")); err != nil {
		t.Fatal(err)
	}
	late := &LedgerRow{OrderID: "order-2", EventID: "event-of-order-2", Status: banking.StatusPurged, ProcessedAt: now()}
	if err := storeAll(t.Context(), d, []delivery.Decided[*LedgerRow]{{Context: t.Context(), Change: late}}); err != nil {
		t.Errorf("a purge after the decision: %v", err)
	}
	var status string
	if err := s.QueryRow(t.Context(), `SELECT status FROM ledger WHERE order_id = $1`, "order-2").Scan(&status); err != nil || status != banking.StatusAuthorized {
		t.Errorf("order-2 is %s, %v", status, err)
	}
}

// Letters, replays and purges that end no order change nothing.
func TestDeadLettersThatEndNoOrder(t *testing.T) {
	d := &decider{now: now}
	marker := func(resolution, event, key string) record.Record {
		m := record.Marker{Letter: record.At(banking.TopicOrdersDLQ, 0, 0), Resolution: resolution, At: now(), EventID: event}.Message([]byte(key))
		return record.Record{Place: record.At(banking.TopicOrdersDLQ, 0, 1), Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	letter := recordOf(t, order("order-1"), nil)
	letter.Topic = banking.TopicOrdersDLQ
	for name, r := range map[string]record.Record{
		"a letter": letter, "a replay": marker(record.Replayed, "event-of-order-1", "order-1"),
		"a purge that ends none": marker(record.Purged, "", "order-1"), "without a key": marker(record.Purged, "e", ""), "nothing": {Place: letter.Place},
	} {
		if change, messages, err := d.Handle(t.Context(), known{}, r); change != nil || messages != nil || err != nil {
			t.Errorf("%s: %+v, %v, %v", name, change, messages, err)
		}
	}
}
