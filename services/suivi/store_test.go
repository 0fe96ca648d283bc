package suivi

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

func TestStoreKeepsViewsAndCountsOrdersOnce(t *testing.T) {
	onEach(t, testStoreKeepsViewsAndCountsOrdersOnce)
}

func testStoreKeepsViewsAndCountsOrdersOnce(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	steps := []struct {
		name   string
		facts  []fact
		orders int64
		status map[string]banking.OrderStatus
	}{
		{"two orders", []fact{created("order-1", 1), created("order-2", 1)}, 2, map[string]banking.OrderStatus{"order-1": banking.OrderStatusCreated, "order-2": banking.OrderStatusCreated}},
		{"nothing", nil, 2, map[string]banking.OrderStatus{"order-1": banking.OrderStatusCreated}},
		{"a decision", []fact{authorized("order-1", 2)}, 2, map[string]banking.OrderStatus{"order-1": banking.OrderStatusAuthorized, "order-2": banking.OrderStatusCreated}},
		{"duplicates", []fact{created("order-1", 1), created("order-2", 1)}, 2, map[string]banking.OrderStatus{"order-1": banking.OrderStatusAuthorized}},
		{"another duplicate", []fact{authorized("order-1", 2)}, 2, map[string]banking.OrderStatus{"order-1": banking.OrderStatusAuthorized}},
		{"a decision before its order", []fact{rejected("order-3", 3)}, 3, map[string]banking.OrderStatus{"order-3": banking.OrderStatusRejected}},
		{"the order after its decision", []fact{created("order-3", 1)}, 3, map[string]banking.OrderStatus{"order-3": banking.OrderStatusRejected}},
		{"known and unknown orders", []fact{failed("order-2", 2, 1), created("order-4", 1)}, 4, map[string]banking.OrderStatus{"order-2": banking.OrderStatusFailed, "order-4": banking.OrderStatusCreated}},
	}
	for _, step := range steps {
		storeAll(t, tr, step.facts...)
		if n := total(t, tr); n != step.orders {
			t.Errorf("%s: %d orders are counted, want %d", step.name, n, step.orders)
		}
		for id, want := range step.status {
			if got := stored(t, tr, id).Status; got != want {
				t.Errorf("%s: %s is %s, want %s", step.name, id, got, want)
			}
		}
	}
	want := project(project(view{}, created("order-1", 1)), authorized("order-1", 2))
	if diff := cmp.Diff(want, stored(t, tr, "order-1")); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestADeadLetterThatSaysNothingChangesNothing(t *testing.T) {
	onEach(t, testADeadLetterThatSaysNothingChangesNothing)
}

func testADeadLetterThatSaysNothingChangesNothing(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	applyDecided(t, tr, []delivery.Decided[*fact]{{Context: t.Context()}})
	if n := total(t, tr); n != 0 {
		t.Errorf("%d orders are counted, want 0", n)
	}
}

func TestLoadFindsWhatWasApplied(t *testing.T) { onEach(t, testLoadFindsWhatWasApplied) }

func testLoadFindsWhatWasApplied(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	storeAll(t, tr, created("order-1", 1))
	batch := []record.Record{
		recordOf(t, banking.TopicOrdersCreated, orderEvent()),
		{Key: []byte("order-9")}, {Key: nil},
	}
	known, err := tr.Load(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(histories{"order-1": moments(created("order-1", 1))}, known); diff != "" {
		t.Errorf("histories (-want +got):\n%s", diff)
	}
	if _, _, err := tr.Handle(t.Context(), known, batch[0]); delivery.ClassOf(err) != delivery.ClassDuplicate {
		t.Errorf("handled again: %v", err)
	}
}

func TestForgetLeavesUndecidedOrders(t *testing.T) { onEach(t, testForgetLeavesUndecidedOrders) }

func testForgetLeavesUndecidedOrders(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	storeAll(t, tr, created("order-1", 1), created("order-2", 1), created("order-3", 1), created("order-4", 1), created("order-5", 1))
	storeAll(t, tr, authorized("order-1", 2), rejected("order-2", 2), failed("order-3", 2, 1), authorized("order-5", 9))
	for _, want := range []struct{ gone, left int64 }{{1, 4}, {1, 3}, {0, 3}} {
		var gone int64
		if err := tr.store.Update(t.Context(), func(tx *storage.Tx) (err error) {
			gone, err = tr.store.Forget(t.Context(), tx, at(9), 1)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if left := total(t, tr); gone != want.gone || left != want.left {
			t.Errorf("%d forgotten, %d counted; want %d and %d", gone, left, want.gone, want.left)
		}
	}
	checkCounts(t, tr, map[banking.OrderStatus]int64{
		"": 3, banking.OrderStatusFailed: 1, banking.OrderStatusCreated: 1, banking.OrderStatusAuthorized: 1,
	})
	for id, want := range map[string]banking.OrderStatus{"order-3": banking.OrderStatusFailed, "order-4": banking.OrderStatusCreated, "order-5": banking.OrderStatusAuthorized, "order-1": ""} {
		if got := stored(t, tr, id).Status; got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
}

// TestOrdersOfBeforeAreCountedByStatus migrates a storage that knew one counter.
func TestOrdersOfBeforeAreCountedByStatus(t *testing.T) {
	onEach(t, testOrdersOfBeforeAreCountedByStatus)
}

func testOrdersOfBeforeAreCountedByStatus(t *testing.T, empty maker) {
	url, before := empty(t), fstest.MapFS{}
	for _, name := range []string{"00001_orders.sql", "00002_revision.sql"} {
		text, err := migrations.ReadFile("migrations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: text}
	}
	old, err := storage.Open(t.Context(), url, Name, before)
	if err != nil {
		t.Fatal(err)
	}
	views := []view{project(view{}, created("order-1", 1)), project(view{}, authorized("order-2", 2)), project(view{}, authorized("order-3", 3))}
	if err := old.Update(t.Context(), func(tx *storage.Tx) error { return save(t.Context(), tx, orders, views) }); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	checkCounts(t, trackerAt(t, url), map[banking.OrderStatus]int64{"": 3, banking.OrderStatusCreated: 1, banking.OrderStatusAuthorized: 2})
}

// checkCounts checks how many orders there are of each status, "" for all.
func checkCounts(t *testing.T, tr *tracker, want map[banking.OrderStatus]int64) {
	t.Helper()
	for _, status := range append(banking.OrderStatuses(), "") {
		if n, err := tr.store.Count(t.Context(), status); err != nil || n != want[status] {
			t.Errorf("%d orders of status %q, %v; want %d", n, status, err, want[status])
		}
	}
}

// TestQueriesUseAnIndex checks that an answer costs the same however many
// orders there are.
func TestQueriesUseAnIndex(t *testing.T) {
	tr := openTracker(t, sqliteIn)
	for _, q := range []struct {
		query string
		args  []any
	}{
		{orders.query(selectOrder), []any{"order-1"}},
		{probes.query(selectOrder), []any{"probe-1"}},
		{deleteProbes, []any{int64(1)}},
		{strings.Replace(orders.query(selectOrders), "$rows", "($1, $2)", 1), []any{"order-1", "order-2"}},
		{strings.Replace(orders.query(selectHistories), "$rows", "($1, $2)", 1), []any{"order-1", "order-2"}},
		{selectNewest, []any{newest("").listedAt, "", 51}},
		{selectNewestOf, []any{newest("").listedAt, "", 51, "ORDER_CREATED"}},
		{selectCountOf, []any{"ORDER_CREATED"}},
		{deleteOrders, []any{int64(1), 100}},
	} {
		rows, err := tr.store.Query(t.Context(), "EXPLAIN QUERY PLAN "+q.query, q.args...)
		if err != nil {
			t.Fatal(err)
		}
		steps := 0
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			steps++
			if strings.Contains(detail, "SCAN") || strings.Contains(detail, "TEMP B-TREE") {
				t.Errorf("%s\n%s", q.query, detail)
			}
		}
		if rows.Err() != nil || steps == 0 {
			t.Errorf("%d steps, %v", steps, rows.Err())
		}
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A probe is shown by its id, as an order is, and stands in no list, no count and no audit.
// It goes when probes of long after it have come.
func TestProbesAreKeptApart(t *testing.T) { onEach(t, testProbesAreKeptApart) }

func testProbesAreKeptApart(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	storeAll(t, tr, created("order-1", 1), created("probe-1-A", 1))
	storeAll(t, tr, authorized("order-1", 2), rejected("probe-1-A", 2))
	for id, want := range map[string]banking.OrderStatus{"order-1": banking.OrderStatusAuthorized, "probe-1-A": banking.OrderStatusRejected} {
		if v, err := tr.store.Order(t.Context(), id); err != nil || v.Status != want || len(v.Events) != 2 {
			t.Errorf("%s is %+v, %v", id, v, err)
		}
		if known, err := tr.store.Histories(t.Context(), []string{id}); err != nil || len(known[id]) != 2 {
			t.Errorf("of %s there is %v, %v", id, known, err)
		}
	}
	checkCounts(t, tr, map[banking.OrderStatus]int64{"": 1, banking.OrderStatusAuthorized: 1, banking.OrderStatusRejected: 0})
	for _, status := range []banking.OrderStatus{"", banking.OrderStatusAuthorized, banking.OrderStatusRejected} {
		views, more, err := tr.store.Page(t.Context(), listing{limit: 10, after: newest(status)})
		if err != nil || more || slices.ContainsFunc(views, func(v view) bool { return v.OrderID != "order-1" }) {
			t.Errorf("the list of %q has %v, %v", status, views, err)
		}
	}
	storeAll(t, tr, created("probe-1-B", 61))
	if _, err := tr.store.Order(t.Context(), "probe-1-A"); err != nil {
		t.Errorf("gone too early: %v", err)
	}
	storeAll(t, tr, created("probe-1-C", 63))
	if _, err := tr.store.Order(t.Context(), "probe-1-A"); !storage.IsNotFound(err) {
		t.Errorf("still there: %v", err)
	}
	for _, id := range []string{"order-1", "probe-1-B", "probe-1-C"} {
		if _, err := tr.store.Order(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// A log that is read again, or a clock that was behind, gives views times of long ago.
// They are kept for as long as others all the same, from when they were stored.
func TestAViewIsKeptForAnAgeFromWhenItWasStored(t *testing.T) { onEach(t, testAViewIsKeptForAnAge) }

func testAViewIsKeptForAnAge(t *testing.T, empty maker) {
	const days, age = 24 * time.Hour, 90 * 24 * time.Hour
	machine := storage.Instant{Wall: at(0)}
	tr := trackerAt(t, empty(t), storage.WithClocks(func() storage.Instant { return machine }))
	p := storage.Pruning{Store: tr.store.Store, Age: age, Forget: tr.store.Forget, Newest: func(context.Context) (time.Time, error) { return machine.Wall, nil }}
	old := authorized("order-1", 0)
	old.At = at(0).Add(-age - days)
	storeAll(t, tr, old, authorized("order-2", 0))
	for _, after := range []struct {
		run  time.Duration
		left int64
	}{{time.Minute, 2}, {age - days, 2}, {2 * days, 0}} {
		machine = storage.Instant{Wall: machine.Wall.Add(after.run), Elapsed: machine.Elapsed + after.run}
		times, err := p.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Round(t.Context(), times); err != nil || total(t, tr) != after.left {
			t.Errorf("after %v more there are %d (%v), want %d", after.run, total(t, tr), err, after.left)
		}
	}
}
