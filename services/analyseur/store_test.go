package analyseur

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

func TestPaymentsCountOnce(t *testing.T) { onEach(t, testPaymentsCountOnce) }

func testPaymentsCountOnce(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	one, two := payment(1, "AUTHORIZED", 1050, noon()), payment(2, "REJECTED", 2, noon())
	storeAll(t, c, one, two) // a batch has each order once
	storeAll(t, c, payment(3, "REJECTED", 300, noon()), two)
	storeAll(t, c, one)
	storeAll(t, c)
	other := payment(1, "REJECTED", 7, noon())
	other.EventID = "another"
	storeAll(t, c, other) // an order counts by its first decision
	want := statistics{authorized: sum{1, 1050}, rejected: sum{2, 302}, lastHour: sum{3, 1352}}
	if got := statisticsAt(t, c, noon()); got != want {
		t.Errorf("statistics %v, want %v", got, want)
	}
	state, err := c.Load(t.Context(), []record.Record{{Key: []byte("order-1")}, {Key: []byte("order-4")}})
	if err != nil || len(state) != 1 || state["order-1"] != "decided-order-1" {
		t.Errorf("counted %v, %v", state, err)
	}
}

func TestStatisticsOfTheLastHour(t *testing.T) { onEach(t, testStatisticsOfTheLastHour) }

func testStatisticsOfTheLastHour(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	if got := statisticsAt(t, c, noon()); got != (statistics{}) {
		t.Errorf("before the first payment: %v", got)
	}
	var all []Transaction
	for i, minutes := range []int{-60, -59, -59, -30, 0, 1} { // from noon's minute; one cent more each
		all = append(all, payment(i, "AUTHORIZED", banking.Money(i+1), noon().Add(time.Duration(minutes)*time.Minute)))
	}
	storeAll(t, c, all[:3]...)
	storeAll(t, c, all[3:]...) // the same minutes again
	minute := noon().Truncate(time.Minute)
	for _, test := range []struct {
		now  time.Time
		want sum
	}{
		{minute.Add(-time.Nanosecond), sum{4, 1 + 2 + 3 + 4}},
		{minute, sum{4, 2 + 3 + 4 + 5}},
		{minute.Add(59 * time.Second), sum{4, 2 + 3 + 4 + 5}},
		{minute.Add(time.Minute), sum{3, 4 + 5 + 6}},
		{minute.Add(59 * time.Minute), sum{2, 5 + 6}},
		{minute.Add(60 * time.Minute), sum{1, 6}},
		{minute.Add(61 * time.Minute), sum{}},
		{minute.Add(-61 * time.Minute), sum{}},
	} {
		got := statisticsAt(t, c, test.now)
		if got.lastHour != test.want || got.all() != (sum{6, 21}) {
			t.Errorf("at %v: last hour %v of %v, want %v of all", test.now, got.lastHour, got.all(), test.want)
		}
	}
}

// No sum leaves its bound: what would make it is refused, and all stays as it is.
func TestSumsStayExact(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		c := openCounter(t, empty)
		storeAll(t, c, payment(1, "AUTHORIZED", banking.MaxAmount, noon()))
		for what, query := range map[string]string{
			"total":  `UPDATE totals SET amount = 4611686018427387903 WHERE status = 'AUTHORIZED' AND 0 < $1`,
			"minute": `UPDATE minutes SET amount = 153722867280912930 WHERE 0 < $1`,
		} {
			set := func(query string, arg int64) {
				t.Helper()
				if err := c.store.Update(t.Context(), func(tx *storage.Tx) error { _, err := tx.Exec(t.Context(), query, arg); return err }); err != nil {
					t.Fatal(err)
				}
			}
			set(query, 1)
			before := statisticsAt(t, c, noon())
			err := c.store.Update(t.Context(), func(tx *storage.Tx) error {
				return c.store.Add(t.Context(), tx, []Transaction{payment(2, "AUTHORIZED", 1, noon())})
			})
			if !errors.Is(err, storage.ErrOutOfRange) {
				t.Errorf("a %s beyond its bound: %v", what, err)
			}
			if after := statisticsAt(t, c, noon()); after != before {
				t.Errorf("a %s beyond its bound: %v, was %v", what, after, before)
			}
			set(`UPDATE totals SET amount = $1`, 0)
			set(`UPDATE minutes SET amount = $1`, 0)
		}
	})
	// The largest sums that there can be are shown.
	largest := statistics{authorized: sum{1, 4611686018427387903}, rejected: sum{2, 4611686018427387903}}
	if all := largest.all(); all.amount != 9223372036854775806 || largest.average() != 3074457345618258602 {
		t.Errorf("the largest sums are %v, %v on average", all, largest.average())
	}
}

// A storage that has counted amounts above an order's bound counts without them.
func TestForeignAmountsAreTakenOutOfTheSums(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		for what, tt := range map[string]struct {
			authorized []int64 // what was counted
			forgotten  sum     // counted and not kept
			total      string  // as it was stored
			want       sum
		}{
			"none of them":          {[]int64{1, 20}, sum{5, 500}, "521", sum{7, 521}},
			"one":                   {[]int64{1, 100_000_000, 100_000_001}, sum{5, 500}, "200000502", sum{7, 100_000_501}},
			"the largest":           {[]int64{1, 9223372036854775807 - 501}, sum{5, 500}, "9223372036854775807", sum{6, 501}},
			"more than 64 bits":     {[]int64{1, 20, 9223372036854775807, 9223372036854775807}, sum{}, "18446744073709551635.0", sum{2, 21}},
			"more, and forgotten":   {[]int64{3, 9223372036854775807}, sum{1, 9223372036854775807}, "18446744073709551617.0", sum{1, 3}},
			"nothing has been paid": {nil, sum{}, "0", sum{}},
		} {
			url := empty(t)
			if strings.HasPrefix(url, "postgres") && strings.HasSuffix(tt.total, ".0") {
				continue // its sums never left 64 bits
			}
			first := fstest.MapFS{"00001_statistics.sql": readMigration(t, "00001_statistics.sql")}
			s, err := storage.Open(t.Context(), url, Name, first)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Update(t.Context(), func(tx *storage.Tx) error {
				for i, cents := range tt.authorized {
					if _, err := tx.Exec(t.Context(), `INSERT INTO transactions (order_id, event_id, user_id, status, amount, processed_at) VALUES ($1, $2, 'u', 'AUTHORIZED', $3, $4)`,
						fmt.Sprint(i), fmt.Sprint(i), cents, noon().UnixMicro()); err != nil {
						return err
					}
				}
				_, err := tx.Exec(t.Context(), `UPDATE totals SET amount = `+tt.total+`, count = $1 WHERE status = 'AUTHORIZED'`, tt.forgotten.count+int64(len(tt.authorized)))
				return err
			})
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			c := counterAt(t, url)
			if got := statisticsAt(t, c, noon()); got.authorized != tt.want || got.rejected != (sum{}) {
				t.Errorf("%s: %v, want %v authorized", what, got, tt.want)
			}
			storeAll(t, c, payment(9, "AUTHORIZED", 7, noon()))
			if got := statisticsAt(t, c, noon()).authorized; got != tt.want.plus(7) {
				t.Errorf("%s and one more: %v", what, got)
			}
			if err := c.store.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func readMigration(t *testing.T, name string) *fstest.MapFile {
	t.Helper()
	text, err := migrations.ReadFile("migrations/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: text}
}

func TestForgettingLeavesTheTotals(t *testing.T) { onEach(t, testForgettingLeavesTheTotals) }

func testForgettingLeavesTheTotals(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	var all []Transaction
	for i := range 5 {
		all = append(all, payment(i, "AUTHORIZED", 10, noon().Add(time.Duration(i)*time.Hour)))
	}
	storeAll(t, c, all...)
	for _, want := range []int64{2, 1, 0} {
		var gone int64
		if err := c.store.Update(t.Context(), func(tx *storage.Tx) (err error) {
			gone, err = c.store.Forget(t.Context(), tx, noon().Add(3*time.Hour), 2)
			return err
		}); err != nil || gone != want {
			t.Errorf("%d forgotten, %v; want %d", gone, err, want)
		}
	}
	later := statisticsAt(t, c, noon().Add(4*time.Hour))
	if later.all() != (sum{5, 50}) || later.lastHour != (sum{1, 10}) {
		t.Errorf("statistics %v", later)
	}
	if recent, err := c.store.Recent(t.Context(), 10); len(recent) != 2 || err != nil {
		t.Errorf("recent %v, %v; want the two that stay", recent, err)
	}
}

// A log that is read again, or a clock that was behind, gives transactions times of long
// ago. They are kept for as long as others all the same, from when they were stored: a
// result that comes once more meanwhile would count twice.
func TestATransactionIsKeptForAnAgeFromWhenItWasStored(t *testing.T) {
	onEach(t, testATransactionIsKeptForAnAge)
}

func testATransactionIsKeptForAnAge(t *testing.T, empty maker) {
	const days, age = 24 * time.Hour, 90 * 24 * time.Hour
	machine := storage.Instant{Wall: noon()}
	c := counterAt(t, empty(t), storage.WithClocks(func() storage.Instant { return machine }))
	p := storage.Pruning{Store: c.store.Store, Age: age, Forget: c.store.Forget, Newest: func(context.Context) (time.Time, error) { return machine.Wall, nil }}
	storeAll(t, c, payment(1, "AUTHORIZED", 10, noon().Add(-age-days)), payment(2, "AUTHORIZED", 10, noon()))
	for _, after := range []struct {
		run  time.Duration
		left int
	}{{time.Minute, 2}, {age - days, 2}, {2 * days, 0}} {
		machine = storage.Instant{Wall: machine.Wall.Add(after.run), Elapsed: machine.Elapsed + after.run}
		times, err := p.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = p.Round(t.Context(), times)
		recent, failed := c.store.Recent(t.Context(), 10)
		if err != nil || failed != nil || len(recent) != after.left {
			t.Errorf("after %v more there are %v (%v, %v), want %d", after.run, recent, err, failed, after.left)
		}
	}
}

func TestRecentIsNewestFirst(t *testing.T) { onEach(t, testRecentIsNewestFirst) }

func testRecentIsNewestFirst(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	storeAll(t, c, payment(1, "AUTHORIZED", 1, noon()), payment(2, "REJECTED", 2, noon().Add(2)), payment(3, "REJECTED", 3, noon().Add(time.Second)),
		payment(4, "AUTHORIZED", 4, noon().Add(time.Microsecond)))
	for limit, want := range map[int]string{1: "order-3", 3: "order-3 order-4 order-2", 10: "order-3 order-4 order-2 order-1"} {
		recent, err := c.store.Recent(t.Context(), limit)
		var ids []string
		for _, tx := range recent {
			ids = append(ids, tx.OrderID)
		}
		if got := strings.Join(ids, " "); got != want || err != nil {
			t.Errorf("the latest %d are %s, %v; want %s", limit, got, err, want)
		}
	}
}

// TestQueriesUseAnIndex checks that an answer costs the same however many
// payments there are. Reading the newest is a scan of the index that stops at
// its limit; the totals are two rows.
func TestQueriesUseAnIndex(t *testing.T) {
	c := openCounter(t, sqliteIn)
	allowed := []string{"SCAN totals", "SCAN transactions USING INDEX transactions_newest_first"}
	for _, q := range []struct {
		query string
		args  []any
	}{
		{strings.Replace(selectEvents, "$rows", "($1, $2)", 1), []any{"order-1", "order-2"}},
		{selectSums, []any{int64(1), int64(60)}},
		{selectRecent, []any{50}},
		{deleteTransactions, []any{int64(1), 100}},
		{deleteMinutes, []any{int64(1)}},
	} {
		var plan []string
		rows, err := c.store.Query(t.Context(), "EXPLAIN QUERY PLAN "+q.query, q.args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var detail string
			if err := rows.Scan(new(int), new(int), new(int), &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
			scans := strings.Contains(detail, "SCAN") && !slices.Contains(allowed, detail) && detail != "SCAN CONSTANT ROW"
			if scans || strings.Contains(detail, "TEMP B-TREE") {
				t.Errorf("%s\n%s", q.query, detail)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(plan) == 0 {
			t.Errorf("plan %v, %v", plan, err)
		}
	}
}

func TestAverageIsRoundedHalfUp(t *testing.T) {
	tests := []struct {
		authorized, rejected sum
		want                 banking.Money
	}{
		{sum{}, sum{}, 0},
		{sum{1, 1}, sum{}, 1},
		{sum{}, sum{1, 1050}, 1050},
		{sum{1, 1}, sum{1, 2}, 2},                                    // 1.5 cents
		{sum{2, 1}, sum{1, 0}, 0},                                    // a third
		{sum{2, 2}, sum{1, 0}, 1},                                    // two thirds
		{sum{3, 100}, sum{}, 33},                                     // 33.33
		{sum{4, 101}, sum{4, 99}, 25},                                // exact
		{sum{2, 2_499}, sum{}, 1250},                                 // 1249.5
		{sum{10_000_000, 1_000_000_000_000_000}, sum{}, 100_000_000}, // every order at the greatest amount
	}
	for _, test := range tests {
		if got := (statistics{authorized: test.authorized, rejected: test.rejected}).average(); got != test.want {
			t.Errorf("average of %v and %v is %d cents, want %d", test.authorized, test.rejected, got, test.want)
		}
	}
}

func TestAuthorizationRateIsRoundedHalfUp(t *testing.T) {
	tests := []struct{ authorized, rejected, want int64 }{
		{0, 0, 0}, {1, 0, 10_000}, {0, 1, 0}, {1, 1, 5_000}, {1, 2, 3_333}, {2, 1, 6_667}, {4, 1, 8_000},
		{1, 7, 1_250}, {1, 19_999, 1}, {1, 20_000, 0}, {19_999, 1, 10_000}, {1_999, 1, 9_995}, {1_000_000_000_000, 0, 10_000},
	}
	for _, test := range tests {
		s := statistics{authorized: sum{count: test.authorized}, rejected: sum{count: test.rejected}}
		if got := s.authorizationRate(); got != test.want {
			t.Errorf("%d of %d gives %d hundredths of a percent, want %d", test.authorized, test.authorized+test.rejected, got, test.want)
		}
	}
}

func TestTallyAddsByStatusAndMinute(t *testing.T) {
	begin := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	m := begin.Unix() / 60
	got := newTally()
	got.add(payment(1, banking.StatusAuthorized, 1, begin))
	got.add(payment(2, banking.StatusRejected, 20, begin.Add(time.Minute-time.Nanosecond)))
	got.add(payment(3, banking.StatusAuthorized, 300, begin.Add(time.Minute)))
	got.add(payment(4, banking.StatusAuthorized, 4000, begin.Add(-time.Nanosecond).In(time.FixedZone("", 5400))))
	if want := (map[string]sum{"AUTHORIZED": {3, 4301}, "REJECTED": {1, 20}}); !maps.Equal(got.statuses, want) {
		t.Errorf("by status %v, want %v", got.statuses, want)
	}
	if want := (map[int64]sum{m - 1: {1, 4000}, m: {2, 21}, m + 1: {1, 300}}); !maps.Equal(got.minutes, want) {
		t.Errorf("by minute %v, want %v", got.minutes, want)
	}
}

func TestTheWindowIsSixtyMinutesWithTheOneUnderWay(t *testing.T) {
	hour := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	first := hour.Add(-59*time.Minute).Unix() / 60
	for _, now := range []time.Time{hour, hour.Add(time.Second), hour.Add(time.Minute - time.Nanosecond), hour.In(time.FixedZone("", -3*3600))} {
		if got := windowStart(now); got != first {
			t.Errorf("at %v the window starts %d minutes off", now, got-first)
		}
		if n := minuteOf(now) - windowStart(now) + 1; n != 60 {
			t.Errorf("at %v the window has %d minutes", now, n)
		}
	}
	for now, want := range map[time.Time]int64{hour.Add(time.Minute): first + 1, hour.Add(-time.Nanosecond): first - 1} {
		if got := windowStart(now); got != want {
			t.Errorf("at %v the window starts %d minutes off", now, got-want)
		}
	}
}
