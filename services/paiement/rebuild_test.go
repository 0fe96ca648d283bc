package paiement

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// published is how a decision stands in Kafka.
func published(t *testing.T, id string, v Verdict) record.Record {
	t.Helper()
	o := order(id)
	message, err := delivery.Encode(outcome(o, v, now()), o.EventID)
	if err != nil {
		t.Fatal(err)
	}
	return record.Record{
		Place: record.At(message.Topic, 0, 0), Key: message.Key, Value: message.Value, Headers: message.Headers,
	}
}

func TestALedgerIsRebuiltFromWhatWasPublished(t *testing.T) {
	onEach(t, testALedgerIsRebuiltFromWhatWasPublished)
}

func testALedgerIsRebuiltFromWhatWasPublished(t *testing.T, empty maker) {
	d := &decider{store: openStore(t, empty)}
	r := rebuilding{store: d.store}
	withoutCause := published(t, "order-3", Verdict{Reason: "limit_exceeded"})
	withoutCause.Headers = withoutCause.Headers[:2]
	for _, record := range []record.Record{
		published(t, "order-1", Verdict{Authorized: true, Code: "AUTH-1"}),
		published(t, "order-2", Verdict{Reason: "limit_exceeded"}),
		withoutCause,
		published(t, "order-1", Verdict{Authorized: true, Code: "AUTH-1"}), // published again after a crash
		recordOf(t, order("order-9"), nil),                                 // no decision
		{Key: []byte("order-9"), Value: []byte("{")},
	} {
		if err := r.add(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var batch []record.Record
	for _, id := range []string{"order-1", "order-2", "order-3", "order-9"} {
		batch = append(batch, recordOf(t, order(id), nil))
	}
	state, err := d.Load(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if want := (known{"order-1": "event-of-order-1", "order-2": "event-of-order-2", "order-3": ""}); !maps.Equal(state, want) {
		t.Errorf("the ledger knows %v, want %v", state, want)
	}
	for i, class := range []delivery.Class{delivery.ClassDuplicate, delivery.ClassDuplicate, delivery.ClassReject} {
		if _, _, err := d.Handle(t.Context(), state, batch[i]); delivery.ClassOf(err) != class {
			t.Errorf("%s: %v of class %v, want %v", batch[i].Key, err, delivery.ClassOf(err), class)
		}
	}
}

func TestARebuiltEntryIsTheOneThatWasLost(t *testing.T) {
	onEach(t, testARebuiltEntryIsTheOneThatWasLost)
}

func testARebuiltEntryIsTheOneThatWasLost(t *testing.T, empty maker) {
	entryOf := func(s *storage.Store) (e entry) {
		t.Helper()
		var micros int64
		if err := s.QueryRow(t.Context(), `SELECT order_id, event_id, result_event_id, status, amount, processed_at FROM ledger`).
			Scan(&e.OrderID, &e.EventID, &e.ResultEventID, &e.Status, &e.Amount, &micros); err != nil {
			t.Fatal(err)
		}
		if micros != now().UnixMicro() {
			t.Errorf("processed at %d", micros)
		}
		return e
	}
	lost := &decider{store: openStore(t, empty)}
	all := decided(t, "order-1")
	if err := apply(t.Context(), lost, all); err != nil {
		t.Fatal(err)
	}
	r := rebuilding{store: openStore(t, empty)}
	if err := r.add(t.Context(), published(t, "order-1", Verdict{Authorized: true, Code: "AUTH-1"})); err != nil {
		t.Fatal(err)
	}
	if err := r.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entryOf(lost.store), entryOf(r.store)); diff != "" {
		t.Errorf("rebuilt (-lost +rebuilt):\n%s", diff)
	}
	if got := entryOf(r.store).Status; got != banking.StatusAuthorized {
		t.Errorf("status %s", got)
	}
}
