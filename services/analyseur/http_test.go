package analyseur

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func newAPI(c *counter) *api {
	return &api{
		store: c.store, log: c.log, now: noon, started: noon().Add(-90*time.Second - time.Millisecond).In(time.FixedZone("", 3600)),
		catchingUp: func(context.Context) bool { return false },
	}
}

func get(handler http.HandlerFunc, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func TestStatisticsHaveTheirDocumentedShape(t *testing.T) {
	onEach(t, testStatisticsHaveTheirDocumentedShape)
}

func testStatisticsHaveTheirDocumentedShape(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	a := newAPI(c)
	const times = `"uptime":90,"timestamp":"2026-03-04T12:00:30Z","startTime":"2026-03-04T11:58:59.999Z"`
	check := func(want string) {
		t.Helper()
		w := get(a.statistics, "/statistics")
		if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != want {
			t.Errorf("%d\n got %s\nwant %s", w.Code, got, want)
		}
	}
	check(`{"totalTransactions":0,"totalAmount":0.00,"authorizedTransactions":0,"rejectedTransactions":0,"averageAmount":0.00,` +
		`"authorizationRate":0.00,"lastHourCount":0,"lastHourAmount":0.00,` + times + `,"catchingUp":false}`)
	storeAll(t, c, payment(1, "AUTHORIZED", 1050, noon()), payment(2, "AUTHORIZED", 5, noon().Add(-2*time.Hour)), payment(3, "REJECTED", 100_000_000, noon()))
	a.catchingUp = func(context.Context) bool { return true }
	check(`{"totalTransactions":3,"totalAmount":1000010.55,"authorizedTransactions":2,"rejectedTransactions":1,"averageAmount":333336.85,` +
		`"authorizationRate":66.67,"lastHourCount":2,"lastHourAmount":1000010.50,` + times + `,"catchingUp":true}`)
}

func TestCatchingUpIsReadBeforeTheSums(t *testing.T) { onEach(t, testCatchingUpIsReadBeforeTheSums) }

func testCatchingUpIsReadBeforeTheSums(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	a := newAPI(c)
	a.catchingUp = func(context.Context) bool { // the last missed record is counted in between
		storeAll(t, c, payment(1, "AUTHORIZED", 1050, noon()))
		return false
	}
	var response statisticsResponse
	if err := json.Unmarshal(get(a.statistics, "/statistics").Body.Bytes(), &response); err != nil {
		t.Fatal(err)
	}
	if response.TotalTransactions != 1 {
		t.Error("an answer that says it is complete lacks a payment")
	}
}

func TestRecentTransactionsHaveTheirDocumentedShape(t *testing.T) {
	onEach(t, testRecentTransactionsHaveTheirDocumentedShape)
}

func testRecentTransactionsHaveTheirDocumentedShape(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	a := newAPI(c)
	check := func(target, want string) {
		t.Helper()
		w := get(a.recent, target)
		if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != want {
			t.Errorf("%s: %d\n got %s\nwant %s", target, w.Code, got, want)
		}
	}
	check("/recent-transactions", `{"transactions":[],"count":0}`)
	storeAll(t, c, payment(1, "AUTHORIZED", 1050, noon()), payment(2, "REJECTED", 7, noon().Add(123*time.Microsecond)))
	const newest = `{"orderId":"order-2","userId":"user-1","amount":0.07,"status":"REJECTED","processedAt":"2026-03-04T12:00:30.000123Z"}`
	check("/recent-transactions", `{"transactions":[`+newest+`,`+
		`{"orderId":"order-1","userId":"user-1","amount":10.50,"status":"AUTHORIZED","processedAt":"2026-03-04T12:00:30Z"}],"count":2}`)
	check("/recent-transactions?limit=1", `{"transactions":[`+newest+`],"count":1}`)
}

func TestRecentLimit(t *testing.T) { onEach(t, testRecentLimit) }

func testRecentLimit(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	a := newAPI(c)
	var all []Transaction
	for i := range maxRecent + 10 {
		all = append(all, payment(i, "AUTHORIZED", 1, noon()))
	}
	storeAll(t, c, all...)
	for limit, want := range map[string]int{"": 50, "1": 1, "500": 500, "0": 0, "-1": 0, "501": 0, "x": 0, "1.0": 0, "99999999999999999999": 0} {
		w := get(a.recent, "/recent-transactions?limit="+limit)
		var response struct {
			Count         int
			Transactions  []recentTransaction
			Field, Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &response); err != nil {
			t.Fatal(err)
		}
		if response.Count != want || len(response.Transactions) != want {
			t.Errorf("limit %q: %d of %d transactions, want %d", limit, len(response.Transactions), response.Count, want)
		}
		if want == 0 && (w.Code != http.StatusBadRequest || response.Field != "limit" || !strings.Contains(response.Detail, fmt.Sprint(maxRecent))) {
			t.Errorf("limit %q: %d %s", limit, w.Code, w.Body)
		}
	}
}

func TestStorageThatDoesNotAnswer(t *testing.T) { onEach(t, testStorageThatDoesNotAnswer) }

func testStorageThatDoesNotAnswer(t *testing.T, empty maker) {
	c := openCounter(t, empty)
	a := newAPI(c)
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, handler := range map[string]http.HandlerFunc{"statistics": a.statistics, "recent": a.recent} {
		if w := get(handler, "/"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d, Retry-After %q", name, w.Code, w.Header().Get("Retry-After"))
		}
	}
}
