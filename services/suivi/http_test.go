package suivi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
)

// get sends a request as a client would, through the routes that wire registers.
func get(t *testing.T, tr *tracker, target string) (status int, body string) {
	t.Helper()
	a := &api{store: tr.store, log: tr.log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", a.list)
	mux.HandleFunc("GET /orders/{id}/status", a.status)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, strings.TrimSuffix(string(text), "\n")
}

func TestAnswersHaveTheirDocumentedShape(t *testing.T) {
	onEach(t, testAnswersHaveTheirDocumentedShape)
}

func testAnswersHaveTheirDocumentedShape(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	bare := created("order-4", 7)
	bare.Items, bare.UserID = nil, "é<&>"
	storeAll(t, tr, created("order-1", 1), created("order-2", 2), created("order-3", 3), bare)
	storeAll(t, tr, authorized("order-1", 4), rejected("order-2", 5), failed("order-3", 6, 1), authorized("order-5", 0))
	const order = `"userId":"user-1","amount":10.50,"items":["tea","cake"],"createdAt":"2026-03-04T05:0`
	const second = `:00.000123Z"`
	for id, want := range map[string]string{
		"order-1": `{"orderId":"order-1","status":"PAYMENT_AUTHORIZED","details":{` + order + `1` + second + `,"processedAt":"2026-03-04T05:04` + second + `,"authorizationCode":"AUTH-1"},` +
			`"events":[{"type":"OrderCreated","timestamp":"2026-03-04T05:01` + second + `},{"type":"PaymentAuthorized","timestamp":"2026-03-04T05:04` + second + `}],"lastUpdated":"2026-03-04T05:04` + second + `}`,
		"order-2": `{"orderId":"order-2","status":"PAYMENT_REJECTED","details":{` + order + `2` + second + `,"processedAt":"2026-03-04T05:05` + second + `,"rejectionReason":"card_expired"},` +
			`"events":[{"type":"OrderCreated","timestamp":"2026-03-04T05:02` + second + `},{"type":"PaymentRejected","timestamp":"2026-03-04T05:05` + second + `}],"lastUpdated":"2026-03-04T05:05` + second + `}`,
		"order-3": `{"orderId":"order-3","status":"PAYMENT_FAILED","details":{` + order + `3` + second + `,"failureReason":"reason-1"},` +
			`"events":[{"type":"OrderCreated","timestamp":"2026-03-04T05:03` + second + `},{"type":"PaymentFailed","timestamp":"2026-03-04T05:06` + second + `}],"lastUpdated":"2026-03-04T05:06` + second + `}`,
		"order-4": `{"orderId":"order-4","status":"ORDER_CREATED","details":{"userId":"é\u003c\u0026\u003e","amount":10.50,"items":[],"createdAt":"2026-03-04T05:07` + second + `},` +
			`"events":[{"type":"OrderCreated","timestamp":"2026-03-04T05:07` + second + `}],"lastUpdated":"2026-03-04T05:07` + second + `}`,
		"order-5": `{"orderId":"order-5","status":"PAYMENT_AUTHORIZED","details":{"userId":"user-1","amount":10.50,"items":[],"processedAt":"2026-03-04T05:00` + second + `,"authorizationCode":"AUTH-1"},` +
			`"events":[{"type":"PaymentAuthorized","timestamp":"2026-03-04T05:00` + second + `}],"lastUpdated":"2026-03-04T05:00` + second + `}`,
	} {
		if status, body := get(t, tr, "/orders/"+id+"/status"); status != 200 || body != want {
			t.Errorf("%s: %d\n got %s\nwant %s", id, status, body, want)
		}
	}
	const listed = `{"orders":[` +
		`{"orderId":"order-4","userId":"é\u003c\u0026\u003e","amount":10.50,"status":"ORDER_CREATED","createdAt":"2026-03-04T05:07` + second + `,"lastUpdated":"2026-03-04T05:07` + second + `},` +
		`{"orderId":"order-3","userId":"user-1","amount":10.50,"status":"PAYMENT_FAILED","createdAt":"2026-03-04T05:03` + second + `,"lastUpdated":"2026-03-04T05:06` + second + `}` +
		`],"count":2,"totalCount":5,"nextCursor":"`
	status, body := get(t, tr, "/orders?limit=2")
	if status != 200 || !strings.HasPrefix(body, listed) {
		t.Errorf("list: %d\n got %s\nwant %s", status, body, listed)
	}
	if _, body := get(t, openTracker(t, empty), "/orders"); body != `{"orders":[],"count":0,"totalCount":0}` {
		t.Errorf("empty list: %s", body)
	}
}

func list(t *testing.T, tr *tracker, target string) (response listResponse) {
	t.Helper()
	status, body := get(t, tr, target)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", target, status, body)
	}
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		t.Fatal(err)
	}
	if response.Count != len(response.Orders) {
		t.Errorf("%s: count %d of %d", target, response.Count, len(response.Orders))
	}
	return response
}

func TestPagesShowEachOrderOnceWhileNewerArrive(t *testing.T) {
	onEach(t, testPagesShowEachOrderOnceWhileNewerArrive)
}

func testPagesShowEachOrderOnceWhileNewerArrive(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	var all []fact
	for i := range 100 {
		all = append(all, created(fmt.Sprintf("order-%d", i), 1)) // all at one time
	}
	storeAll(t, tr, all...)
	newer := 0
	for _, limit := range []int{1, 7, 10, 100, 500} {
		seenIn, pages, cursor := map[string]int{}, 0, ""
		before := total(t, tr)
		for done := false; !done; done = cursor == "" {
			response := list(t, tr, fmt.Sprintf("/orders?limit=%d&cursor=%s", limit, cursor))
			for _, o := range response.Orders {
				seenIn[o.OrderID]++
			}
			if int64(pages)+before != response.TotalCount || len(response.Orders) > limit {
				t.Errorf("limit %d, page %d: %d orders of %d", limit, pages, len(response.Orders), response.TotalCount)
			}
			pages, cursor = pages+1, response.NextCursor
			newer++
			storeAll(t, tr, created(fmt.Sprintf("newer-%d", newer), 1+newer))
		}
		for _, f := range all {
			if seenIn[f.OrderID] != 1 {
				t.Errorf("limit %d: %s is seen %d times", limit, f.OrderID, seenIn[f.OrderID])
			}
		}
		if int64(len(seenIn)) != before {
			t.Errorf("limit %d: %d orders are seen, want the %d that were there", limit, len(seenIn), before)
		}
	}
}

// The list of one status has its orders alone, in their order, on pages of any
// size, and counts them; it follows what happens to them.
func TestOrdersOfOneStatus(t *testing.T) { onEach(t, testOrdersOfOneStatus) }

func testOrdersOfOneStatus(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	want := map[banking.OrderStatus][]string{}
	for i := 19; i >= 0; i-- {
		id := fmt.Sprintf("order/%d", i)
		storeAll(t, tr, created(id, i))
		status := banking.OrderStatuses()[i%4]
		switch status {
		case banking.OrderStatusFailed:
			storeAll(t, tr, failed(id, 30, i))
		case banking.OrderStatusAuthorized:
			storeAll(t, tr, failed(id, 30, i))
			storeAll(t, tr, authorized(id, 31)) // replayed
		case banking.OrderStatusRejected:
			storeAll(t, tr, rejected(id, 30))
		case banking.OrderStatusCreated:
		}
		want[status] = append([]string{id}, want[status]...)
	}
	for status, ids := range want {
		slices.Reverse(ids) // newest first
		for _, limit := range []int{1, 2, 5, 500} {
			var got []string
			target := fmt.Sprintf("/orders?status=%s&limit=%d", status, limit)
			for cursor, more := "", true; more; more = cursor != "" {
				page := list(t, tr, target+"&cursor="+cursor)
				cursor = page.NextCursor
				if page.TotalCount != int64(len(ids)) {
					t.Errorf("%s: totalCount %d, want %d", target, page.TotalCount, len(ids))
				}
				for _, o := range page.Orders {
					got = append(got, o.OrderID)
					if o.Status != status {
						t.Errorf("%s: %s is %s", target, o.OrderID, o.Status)
					}
				}
			}
			if !slices.Equal(got, ids) {
				t.Errorf("%s lists %v, want %v", target, got, ids)
			}
		}
	}
	storeAll(t, tr, authorized("order/0", 40))
	checkCounts(t, tr, map[banking.OrderStatus]int64{
		"": 20, banking.OrderStatusCreated: 4, banking.OrderStatusFailed: 5, banking.OrderStatusAuthorized: 6, banking.OrderStatusRejected: 5,
	})
	if page := list(t, tr, "/orders?status=ORDER_CREATED"); len(page.Orders) != 4 {
		t.Errorf("%d orders are listed as created, want 4", len(page.Orders))
	}
	if page := list(t, tr, "/orders?status="); page.TotalCount != 20 {
		t.Errorf("%d orders without a status, want all", page.TotalCount)
	}
}

func TestListIsNewestFirst(t *testing.T) { onEach(t, testListIsNewestFirst) }

func testListIsNewestFirst(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	storeAll(t, tr, created("order-1", 3), created("order-2", 1), created("order-3", 2))
	storeAll(t, tr, authorized("order-2", 9)) // what happens later does not move an order
	var ids []string
	for _, o := range list(t, tr, "/orders").Orders {
		ids = append(ids, o.OrderID)
	}
	if got := strings.Join(ids, " "); got != "order-1 order-3 order-2" {
		t.Errorf("listed %s", got)
	}
}

func TestBadQuestionsAreNamed(t *testing.T) { onEach(t, testBadQuestionsAreNamed) }

func testBadQuestionsAreNamed(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	encode := base64.RawURLEncoding.EncodeToString
	tests := []struct {
		target string
		status int
		field  string
	}{
		{"/orders?limit=0", 400, "limit"},
		{"/orders?limit=-1", 400, "limit"},
		{"/orders?limit=501", 400, "limit"},
		{"/orders?limit=ten", 400, "limit"},
		{"/orders?limit=1.5", 400, "limit"},
		{"/orders?limit=99999999999999999999", 400, "limit"},
		{"/orders?cursor=!", 400, "cursor"},
		{"/orders?cursor=order-1", 400, "cursor"},
		{"/orders?cursor=" + encode([]byte("12")), 400, "cursor"},
		{"/orders?cursor=" + encode([]byte("12/")), 400, "cursor"},
		{"/orders?cursor=" + encode([]byte("x/order-1")), 400, "cursor"},
		{"/orders?cursor=" + encode([]byte("99999999999999999999/order-1")), 400, "cursor"},
		{"/orders?status=CREATED", 400, "status"},
		{"/orders?status=payment_failed", 400, "status"},
		{"/orders?cursor=" + newest("").after(view{OrderID: "order-1"}).String() + "&status=PAYMENT_FAILED", 400, "cursor"},
		{"/orders?cursor=" + newest("PAYMENT_FAILED").after(view{OrderID: "order-1"}).String(), 400, "cursor"},
		{"/orders/order-1/status", 404, ""},
		{"/orders/'%20OR%201=1/status", 404, ""},
	}
	for _, test := range tests {
		status, body := get(t, tr, test.target)
		var problem struct{ Field, Detail string }
		if err := json.Unmarshal([]byte(body), &problem); err != nil {
			t.Errorf("%s: %q: %v", test.target, body, err)
		}
		if status != test.status || problem.Field != test.field || !strings.Contains(problem.Detail, test.field) || problem.Detail == "" {
			t.Errorf("%s: %d %s, want %d naming %q", test.target, status, body, test.status, test.field)
		}
	}
	for _, limit := range []string{"1", "500", ""} {
		if status, body := get(t, tr, "/orders?limit="+limit); status != http.StatusOK {
			t.Errorf("limit %q: %d %s", limit, status, body)
		}
	}
}

func TestStorageThatDoesNotAnswer(t *testing.T) { onEach(t, testStorageThatDoesNotAnswer) }

func testStorageThatDoesNotAnswer(t *testing.T, empty maker) {
	tr := openTracker(t, empty)
	a := &api{store: tr.store, log: tr.log}
	if err := tr.store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, handler := range map[string]http.HandlerFunc{"status": a.status, "list": a.list} {
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d, Retry-After %q", name, w.Code, w.Header().Get("Retry-After"))
		}
	}
}
