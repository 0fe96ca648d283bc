package paiement

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func decided(t *testing.T, ids ...string) (all []delivery.Decided[*LedgerRow]) {
	for _, id := range ids {
		all = append(all, delivery.Decided[*LedgerRow]{Context: t.Context(), Change: &LedgerRow{
			OrderID: id, EventID: "event-of-" + id, ResultEventID: banking.ResultEventID("event-of-" + id),
			Status: banking.StatusAuthorized, Amount: 1050, ProcessedAt: now(),
		}})
	}
	return all
}

func storeAll(ctx context.Context, d *decider, all []delivery.Decided[*LedgerRow]) error {
	return d.store.Update(ctx, func(tx *storage.Tx) error { return d.Store(ctx, tx, all) })
}

func TestTheLedgerIsUniqueByOrder(t *testing.T) { onEach(t, testTheLedgerIsUniqueByOrder) }

func testTheLedgerIsUniqueByOrder(t *testing.T, empty maker) {
	d := deciderOn(openStore(t, empty))
	var batch []record.Record
	for _, id := range []string{"order-1", "order-2", "order-3"} {
		batch = append(batch, recordOf(t, order(id), nil))
	}
	load := func() known {
		t.Helper()
		state, err := d.Load(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	if state := load(); len(state.settled) != 0 {
		t.Errorf("an empty ledger knows %v", state)
	}
	if err := storeAll(t.Context(), d, decided(t, "order-1", "order-2")); err != nil {
		t.Fatal(err)
	}
	if err := storeAll(t.Context(), d, decided(t, "order-3", "order-2")); err == nil {
		t.Error("an order was decided twice")
	}
	want := map[string]string{"order-1": "event-of-order-1", "order-2": "event-of-order-2"}
	if state := load(); !maps.Equal(state.settled, want) {
		t.Errorf("the ledger knows %v, want %v", state, want)
	}
	if _, _, err := d.Handle(t.Context(), load(), batch[0]); delivery.ClassOf(err) != delivery.ClassDuplicate {
		t.Errorf("a decided order seen again: %v", err)
	}
	var result, status string
	var amount, at int64
	if err := d.store.QueryRow(t.Context(), `SELECT result_event_id, status, amount, processed_at FROM ledger WHERE order_id = $1`, "order-1").
		Scan(&result, &status, &amount, &at); err != nil {
		t.Fatal(err)
	}
	if result != banking.ResultEventID("event-of-order-1") || status != "AUTHORIZED" || amount != 1050 || at != now().UnixMicro() {
		t.Errorf("entry %s %s %d %d", result, status, amount, at)
	}
}

func TestForgetTakesOldDecisionsInPortions(t *testing.T) {
	onEach(t, testForgetTakesOldDecisionsInPortions)
}

func testForgetTakesOldDecisionsInPortions(t *testing.T, empty maker) {
	d := deciderOn(openStore(t, empty))
	all := decided(t, "order-1", "order-2", "order-3", "order-4")
	for i := range all {
		all[i].Change.ProcessedAt = now().Add(time.Duration(i) * time.Hour)
	}
	if err := storeAll(t.Context(), d, all); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ limit, gone, left int64 }{{2, 2, 2}, {2, 1, 1}, {2, 0, 1}} {
		var gone, left int64
		if err := d.store.Update(t.Context(), func(tx *storage.Tx) (err error) {
			gone, err = d.store.Forget(t.Context(), tx, now().Add(3*time.Hour), int(step.limit))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.store.QueryRow(t.Context(), `SELECT COUNT(*) FROM ledger`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if gone != step.gone || left != step.left {
			t.Errorf("%d forgotten and %d left, want %d and %d", gone, left, step.gone, step.left)
		}
	}
	if state, err := d.Load(t.Context(), []record.Record{{Key: []byte("order-4")}}); len(state.settled) != 1 || err != nil {
		t.Errorf("the decision at the limit is forgotten: %v, %v", state, err)
	}
}

func TestDecisionsAreCountedByStatusAndLoggedWithoutSecrets(t *testing.T) {
	telemetry := telemetrytest.New(t, Name, slices.Concat(Catalogue(), service.Common()))
	payments, err := telemetry.Instruments().Int64Counter(paymentsTotal)
	if err != nil {
		t.Fatal(err)
	}
	status := func(s string) metric.AddOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("status", s)))
	}
	lines, err := service.NewOrderLog(t.Context(), telemetry.Logger(), telemetry.Instruments(), 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &decider{
		log: telemetry.Logger(), lines: lines, authorized: counting(payments, status("authorized")), rejected: counting(payments, status("rejected")),
	}
	all := decided(t, "order-1", "order-2", "order-3")
	all[1].Change.Status = banking.StatusRejected
	d.Stored(all)
	for s, want := range map[string]float64{"authorized": 2, "rejected": 1} {
		if got := telemetry.Metric(paymentsTotal, map[string]string{"status": s}); got != want {
			t.Errorf("%v payments are counted as %s, want %v", got, s, want)
		}
	}
	telemetry.CheckCatalogue()
	logs := telemetry.Logs()
	if len(logs) != 3 || logs[1]["order_id"] != "order-2" || logs[1]["status"] != "REJECTED" {
		t.Errorf("logs %v", logs)
	}
	for _, line := range logs {
		for key := range line {
			if key == "amount" || key == "user_id" {
				t.Errorf("%s is logged: %v", key, line)
			}
		}
	}
}
