package paiement

import (
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Who decides on what the ledger said before another instance wrote into it
// stores nothing and looks again.
func TestADecisionThatComesSecondIsFenced(t *testing.T) {
	onEach(t, testADecisionThatComesSecondIsFenced)
}

func testADecisionThatComesSecondIsFenced(t *testing.T, empty maker) {
	d := deciderOn(openStore(t, empty))
	first := LedgerRow{OrderID: "order-1", EventID: "event-1", ResultEventID: "result-1", Status: banking.StatusAuthorized, Amount: 100, ProcessedAt: now()}
	second, other := first, first
	second.Status, other.OrderID = banking.StatusRejected, "order-2"
	storeAll := func(entries ...LedgerRow) error {
		var decided []delivery.Decided[*LedgerRow]
		for _, e := range entries {
			decided = append(decided, delivery.Decided[*LedgerRow]{Context: t.Context(), Change: &e})
		}
		return d.store.Update(t.Context(), func(tx *storage.Tx) error { return d.Store(t.Context(), tx, decided) })
	}
	if err := storeAll(first); err != nil {
		t.Fatal(err)
	}
	if err := storeAll(other, second); !errors.Is(err, storage.ErrFenced) {
		t.Errorf("a second decision: %v, want ErrFenced", err)
	}
	known, err := d.store.Settled(t.Context(), []string{"order-1", "order-2"})
	if err != nil || len(known) != 1 || known["order-1"] != "event-1" {
		t.Errorf("the ledger has %v, %v; want the first alone", known, err)
	}
}
