package commande

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
)

func takeN(t *testing.T, i *ids, n int) (all []string) {
	t.Helper()
	for range n {
		id, err := i.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, id)
	}
	return all
}

func release(t *testing.T, i *ids) {
	t.Helper()
	if err := i.release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// next returns the number that the next block begins with.
func next(t *testing.T, s *storage.Store) (n int64) {
	t.Helper()
	if err := s.QueryRow(t.Context(), nextBlock).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// once notes ids and complains of those that come again.
type once map[string]bool

func (o once) note(t *testing.T, all ...string) {
	t.Helper()
	for _, id := range all {
		if o[id] {
			t.Errorf("%s is given twice", id)
		}
		o[id] = true
	}
}

func TestIDsGoOnOverStopsAndCrashes(t *testing.T) { onEach(t, testIDsGoOnOverStopsAndCrashes) }

func testIDsGoOnOverStopsAndCrashes(t *testing.T, empty maker) {
	url, given := empty(t), once{}
	tests := []struct {
		take  int
		clean bool
		first int // the first id of this run
	}{
		{3, true, 1},
		{0, true, 0},     // a run without an order takes nothing
		{2, true, 4},     // no gap after a clean stop
		{5, false, 6},    // a crash leaves the rest of its block
		{1, true, 1006},  // 6 + a block
		{1, false, 1007}, // the rest was given back
		{1, false, 2007},
		{blockSize, true, 3007}, // to the last id of its block
		{blockSize + 1, true, 4007},
		{1, true, 5008},
	}
	for _, test := range tests {
		s := reopen(t, url)
		i := &ids{store: s}
		all := takeN(t, i, test.take)
		given.note(t, all...)
		for n, id := range all {
			if want := fmt.Sprintf("order-%d", test.first+n); id != want {
				t.Fatalf("got %s, want %s", id, want)
			}
		}
		if test.clean {
			release(t, i)
			release(t, i) // again, to no effect
		}
		closed(t, s)
	}
}

func TestConcurrentTakesNeverRepeat(t *testing.T) { onEach(t, testConcurrentTakesNeverRepeat) }

func testConcurrentTakesNeverRepeat(t *testing.T, empty maker) {
	const takers, each = 16, 150 // more than two blocks
	s := reopen(t, empty(t))
	defer closed(t, s)
	i := &ids{store: s}
	all := make(chan string, takers*each)
	var group sync.WaitGroup
	for range takers {
		group.Go(func() {
			for range each {
				id, err := i.take(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				all <- id
			}
		})
	}
	group.Wait()
	close(all)
	given := once{}
	for id := range all {
		given.note(t, id)
	}
	for n := range takers * each {
		if !given[fmt.Sprintf("order-%d", n+1)] {
			t.Errorf("order-%d is left out", n+1)
		}
	}
}

func TestAllocatorsOfOneStoreNeverOverlap(t *testing.T) {
	onEach(t, testAllocatorsOfOneStoreNeverOverlap)
}

func testAllocatorsOfOneStoreNeverOverlap(t *testing.T, empty maker) {
	s := reopen(t, empty(t))
	defer closed(t, s)
	a, b, c := &ids{store: s}, &ids{store: s}, &ids{store: s}
	given := once{}
	given.note(t, takeN(t, a, 5)...) // a has 1 to 1000
	given.note(t, takeN(t, b, 5)...) // b has 1001 to 2000
	release(t, a)                    // b's block is later: a's rest is lost, b's is not touched
	if n := next(t, s); n != 2001 {
		t.Errorf("after a's release the next block begins at %d, want 2001", n)
	}
	given.note(t, takeN(t, c, 5)...) // c has 2001 to 3000
	given.note(t, takeN(t, b, 995)...)
	given.note(t, takeN(t, b, 5)...) // b has 3001 to 4000
	release(t, c)
	if n := next(t, s); n != 4001 {
		t.Errorf("after c's release the next block begins at %d, want 4001", n)
	}
	release(t, b)
	if n := next(t, s); n != 3006 {
		t.Errorf("after the latest block's release the next begins at %d, want 3006", n)
	}
	for _, i := range []*ids{a, b, c} { // each goes on as if started again
		given.note(t, takeN(t, i, blockSize+1)...)
	}
}

func TestABlockThatCannotBeTakenGivesNoID(t *testing.T) {
	onEach(t, testABlockThatCannotBeTakenGivesNoID)
}

func testABlockThatCannotBeTakenGivesNoID(t *testing.T, empty maker) {
	s := reopen(t, empty(t))
	defer closed(t, s)
	i := &ids{store: s}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if id, err := i.take(over); err == nil {
		t.Errorf("got %s without storage", id)
	}
	if all := takeN(t, i, 1); all[0] != "order-1" {
		t.Errorf("then got %s, want order-1", all[0])
	}
	if id, err := i.take(over); err != nil || id != "order-2" { // of the block: costs no storage
		t.Errorf("then got %s, %v; want order-2", id, err)
	}
	if err := i.release(over); err == nil {
		t.Error("released without storage")
	}
	release(t, i)
	if n := next(t, s); n != 3 {
		t.Errorf("the next block begins at %d, want 3", n)
	}
}

func (s *shop) postKeyed(ctx context.Context, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/orders", strings.NewReader(body))
	r.Header.Set(headerKey, key)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// repeats checks orders_repeated_total.
func (s *shop) repeats(t *testing.T, want map[string]int) {
	t.Helper()
	for _, outcome := range repeats() {
		if got := s.Metric(ordersRepeated, map[string]string{"outcome": outcome}); got != float64(want[outcome]) {
			t.Errorf("%v were %s, want %d", got, outcome, want[outcome])
		}
	}
}

func TestOneKeyIsOneOrder(t *testing.T) {
	s := openShop(t)
	first := s.postKeyed(t.Context(), `"k1"`, order)
	if first.Code != http.StatusCreated || first.Header().Get(headerReplayed) != "" {
		t.Fatalf("first: %d %s", first.Code, first.Body)
	}
	// The same request, its members in another order and its amount written otherwise.
	again := s.postKeyed(t.Context(), "k1", `{"items":["secret tea"],"amount":765432e-2,"userId":"user-secret"}`)
	if again.Code != http.StatusCreated || again.Body.String() != first.Body.String() || again.Header().Get(headerReplayed) != "true" {
		t.Errorf("again: %d %v %s, first %s", again.Code, again.Header(), again.Body, first.Body)
	}
	other := s.postKeyed(t.Context(), "k1", `{"userId":"user-secret","amount":1}`)
	if p := problem(t, other, httpapi.KeyReused); !strings.Contains(p.Detail, headerKey) {
		t.Errorf("another order under the key: %+v", p)
	}
	if p := problem(t, s.postKeyed(t.Context(), "", order), httpapi.InvalidRequest); !strings.Contains(p.Detail, headerKey) {
		t.Errorf("an empty key: %+v", p)
	}
	if w := s.postKeyed(t.Context(), "k2", order); !strings.Contains(w.Body.String(), `"order-2"`) {
		t.Errorf("another key: %d %s", w.Code, w.Body)
	}
	s.counts(t, 2, 2*765432, map[int]int{201: 3, 422: 1, 400: 1})
	s.repeats(t, map[string]int{repeatReplayed: 1, repeatOther: 1})
	s.discreet(t, "user-secret", "secret tea", "k1")
}

// Two clients that come upon one key have an order each, and each its own again.
func TestAKeyBelongsToItsClient(t *testing.T) {
	const one, two = "shop-a-token-0000001", "shop-b-token-0000002"
	s := openShopFor(t, one, two)
	post := func(token, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", strings.NewReader(body))
		r.Header.Set(headerKey, `"1"`)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	first, second := post(one, order), post(two, order)
	if !strings.Contains(first.Body.String(), `"order-1"`) || !strings.Contains(second.Body.String(), `"order-2"`) || second.Header().Get(headerReplayed) != "" {
		t.Errorf("one client's order is %s, the other's %v %s", first.Body, second.Header(), second.Body)
	}
	for token, want := range map[string]string{one: first.Body.String(), two: second.Body.String()} {
		if again := post(token, order); again.Body.String() != want || again.Header().Get(headerReplayed) != "true" {
			t.Errorf("again: %v %s, want %s", again.Header(), again.Body, want)
		}
	}
	if w := post(two, `{"userId":"user-secret","amount":1}`); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("another order under the client's own key: %d %s", w.Code, w.Body)
	}
	s.counts(t, 2, 2*765432, map[int]int{201: 4, 422: 1})
	s.repeats(t, map[string]int{repeatReplayed: 2, repeatOther: 1})
	s.discreet(t, one, two)
}

// An order whose outcome is unknown is the same order when it is asked for
// again: same ids, same event.
func TestAKeySurvivesAnOrderThatFailed(t *testing.T) {
	s := openShop(t)
	s.broker.answer = func(context.Context) error { return kafka.ErrUnacknowledged }
	unacknowledged := s.postKeyed(t.Context(), "k", order)
	problem(t, unacknowledged, httpapi.UnknownOutcome)
	if unacknowledged.Header().Get("Retry-After") == "" {
		t.Errorf("unacknowledged: %v", unacknowledged.Header())
	}
	s.counts(t, 0, 0, map[int]int{503: 1})
	s.broker.answer = nil
	w := s.postKeyed(t.Context(), "k", order)
	if w.Code != http.StatusCreated || !strings.Contains(w.Body.String(), `"order-1"`) || w.Header().Get(headerReplayed) != "" {
		t.Errorf("asked for again: %d %s", w.Code, w.Body)
	}
	one, _ := s.broker.sent[0].Value.Encode()
	two, _ := s.broker.sent[1].Value.Encode()
	if string(one) != string(two) || s.sentHeaders(0)["eventId"] != s.sentHeaders(1)["eventId"] {
		t.Errorf("published %s, then %s", one, two)
	}
	if got := s.Metric(ordersTotal, nil); got != 1 {
		t.Errorf("%s is %v", ordersTotal, got)
	}
}

// While a request is under way, others with its key have to wait; they take
// over from one that never came back.
func TestAKeyIsBusyForALease(t *testing.T) { synctest.Test(t, testAKeyIsBusyForALease) }

func testAKeyIsBusyForALease(t *testing.T) {
	s := openShop(t)
	published, release := make(chan struct{}), make(chan struct{})
	s.broker.answer = func(context.Context) error { close(published); <-release; return nil }
	var first *httptest.ResponseRecorder
	done := make(chan struct{})
	go func() { defer close(done); first = s.postKeyed(t.Context(), "k", order) }()
	<-published
	for _, retryAfter := range []string{"3600", "3590"} {
		w := s.postKeyed(t.Context(), "k", order)
		problem(t, w, httpapi.KeyInUse)
		if got := w.Header().Get("Retry-After"); got != retryAfter {
			t.Errorf("beside another: Retry-After %q, want %q", got, retryAfter)
		}
		<-time.After(10 * time.Second)
	}
	s.repeats(t, map[string]int{repeatBusy: 2})

	<-time.After(leaseOfTests)
	s.broker.answer = nil
	second := s.postKeyed(t.Context(), "k", order)
	close(release)
	<-done
	if first.Code != http.StatusCreated || second.Code != http.StatusCreated || first.Body.String() != second.Body.String() {
		t.Errorf("first %d %s, who took over %d %s", first.Code, first.Body, second.Code, second.Body)
	}
	if got := s.Metric(ordersTotal, nil); got != 1 { // published twice, one order
		t.Errorf("%s is %v", ordersTotal, got)
	}
}

// A lease that ends further away than a lease is long is one of a clock that
// has gone back since: nobody waits for it.
func TestALeaseOfAClockThatWentBackIsTakenOver(t *testing.T) {
	s := openShop(t)
	k := s.orders.keys
	request, err := banking.ParseOrderRequest([]byte(order))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ahead time.Duration
		busy  bool
	}{{0, true}, {leaseOfTests / 2, true}, {91 * 24 * time.Hour, false}} {
		key := tt.ahead.String()
		k.now = func() time.Time { return time.Now().Add(tt.ahead) }
		first, err := k.reserve(t.Context(), key, request)
		if err != nil {
			t.Fatal(err)
		}
		k.now = time.Now
		second, err := k.reserve(t.Context(), key, request)
		if busy, ok := errors.AsType[*busyError](err); ok != tt.busy || ok && busy.left > leaseOfTests {
			t.Errorf("a clock that was %v ahead: %v", tt.ahead, err)
		}
		if err == nil && second.event.EventID != first.event.EventID {
			t.Errorf("a clock that was %v ahead: another event", tt.ahead)
		}
	}
}

// However many ask at once, on however many instances, a key gives one order.
func TestAKeyGivesOneOrderToAllWhoAskAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		const instances, each = 2, 20
		url := empty(t)
		var shared *storage.Store // SQLite has one process, PostgreSQL a store per instance
		var all []*keys
		for range instances {
			if shared == nil || strings.HasPrefix(url, "postgres") {
				s := reopen(t, url)
				t.Cleanup(func() { closed(t, s) })
				shared = s
			}
			all = append(all, &keys{store: shared, ids: &ids{store: shared}, lease: time.Hour, now: time.Now})
		}
		request, err := banking.ParseOrderRequest([]byte(order))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var ours []reservation
		var group sync.WaitGroup
		for _, k := range all {
			for range each {
				group.Go(func() {
					h, err := k.reserve(t.Context(), "k", request)
					var busy *busyError
					if errors.As(err, &busy) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					ours = append(ours, h)
				})
			}
		}
		group.Wait()
		if len(ours) != 1 {
			t.Fatalf("%d requests got the key: %v", len(ours), ours)
		}
		if first, err := all[1].settle(t.Context(), ours[0]); !first || err != nil {
			t.Errorf("settled: %v, %v", first, err)
		}
		if first, err := all[0].settle(t.Context(), ours[0]); first || err != nil {
			t.Errorf("settled again: %v, %v", first, err)
		}
		h, err := all[1].reserve(t.Context(), "k", request)
		if err != nil || !h.acknowledged || h.event.EventID != ours[0].event.EventID || !h.event.CreatedAt.Equal(ours[0].event.CreatedAt) {
			t.Errorf("afterwards %+v, %v; want %+v", h, err, ours[0])
		}
	})
}

func TestOldKeysAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		s := reopen(t, empty(t))
		defer closed(t, s)
		k := &keys{store: s, ids: &ids{store: s}, now: time.Now}
		request, err := banking.ParseOrderRequest([]byte(order))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"one", "two", "three"} {
			if _, err := k.reserve(t.Context(), key, request); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			before time.Time
			want   int64
		}{{time.Now().Add(-keptKeys), 0}, {time.Now().Add(time.Hour), 2}, {time.Now().Add(time.Hour), 1}} {
			var n int64
			if err := s.Update(t.Context(), func(tx *storage.Tx) (err error) {
				n, err = forgetOldKeys(t.Context(), tx, tt.before, 2)
				return err
			}); err != nil || n != tt.want {
				t.Errorf("%d keys forgotten, %v; want %d", n, err, tt.want)
			}
		}
	})
}

func TestFingerprintsTellRequestsApart(t *testing.T) {
	seen := map[string]banking.OrderRequest{}
	for _, request := range []banking.OrderRequest{
		{UserID: "u", Amount: 100}, {UserID: "v", Amount: 100}, {UserID: "u", Amount: 101},
		{UserID: "u", Amount: 100, Items: []string{"a"}}, {UserID: "u", Amount: 100, Items: []string{"a", "b"}},
		{UserID: "u", Amount: 100, Items: []string{`a","b`}}, {UserID: "u", Amount: 100, Items: []string{"b", "a"}},
		{UserID: "u", Amount: 100, Items: []string{""}}, {UserID: `u","100`, Amount: 100},
	} {
		f := fingerprint(request)
		if other, twice := seen[f]; twice {
			t.Errorf("%+v and %+v are taken for the same", request, other)
		}
		seen[f] = request
	}
	if a, b := fingerprint(banking.OrderRequest{UserID: "u", Items: []string{}}), fingerprint(banking.OrderRequest{UserID: "u"}); a != b {
		t.Error("no items are taken for other than an empty list of them")
	}
}
