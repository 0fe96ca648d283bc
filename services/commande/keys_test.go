package commande

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
)

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
		if s.Series(ordersRepeated, map[string]string{"outcome": outcome}) == 0 && want[outcome] == 0 {
			continue
		}
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
	if other.Code != http.StatusUnprocessableEntity || !strings.Contains(other.Body.String(), headerKey) {
		t.Errorf("another order under the key: %d %s", other.Code, other.Body)
	}
	if w := s.postKeyed(t.Context(), "", order); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), headerKey) {
		t.Errorf("an empty key: %d %s", w.Code, w.Body)
	}
	if w := s.postKeyed(t.Context(), "k2", order); !strings.Contains(w.Body.String(), `"order-2"`) {
		t.Errorf("another key: %d %s", w.Code, w.Body)
	}
	s.counts(t, 2, 2*765432, map[int]int{201: 3, 422: 1, 400: 1})
	s.repeats(t, map[string]int{repeatReplayed: 1, repeatOther: 1})
	s.discreet(t, "user-secret", "secret tea", "k1")
}

// An order whose outcome is unknown is the same order when it is asked for
// again: same ids, same event.
func TestAKeySurvivesAnOrderThatFailed(t *testing.T) {
	s := openShop(t)
	s.broker.answer = func(context.Context) error { return kafka.ErrUnacknowledged }
	if w := s.postKeyed(t.Context(), "k", order); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Fatalf("unacknowledged: %d %s", w.Code, w.Body)
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

// While a request is under way, others with its key are told to wait; they take
// over from one that never came back.
func TestAKeyIsBusyForALease(t *testing.T) {
	s := openShop(t)
	published, release := make(chan struct{}), make(chan struct{})
	s.broker.answer = func(context.Context) error { close(published); <-release; return nil }
	var first *httptest.ResponseRecorder
	done := make(chan struct{})
	go func() { defer close(done); first = s.postKeyed(t.Context(), "k", order) }()
	<-published
	w := s.postKeyed(t.Context(), "k", order)
	if w.Code != http.StatusConflict || w.Header().Get("Retry-After") != "60" {
		t.Errorf("beside another: %d %v %s", w.Code, w.Header(), w.Body)
	}
	s.repeats(t, map[string]int{repeatBusy: 1})

	s.orders.keys.lease = 0 // as if time had passed
	expire(t, s.orders.keys.store)
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

func expire(t *testing.T, store *storage.Store) {
	t.Helper()
	if err := store.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE idempotency_keys SET busy_until = 1`)
		return err
	}); err != nil {
		t.Fatal(err)
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
			all = append(all, &keys{store: shared, lease: time.Minute})
		}
		o := &orders{ids: &ids{store: all[0].store}}
		request, err := banking.ParseOrderRequest([]byte(order))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var ours []held
		var group sync.WaitGroup
		for _, k := range all {
			for range each {
				group.Go(func() {
					h, err := k.reserve(t.Context(), "k", request, o.draft)
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
		h, err := all[1].reserve(t.Context(), "k", request, o.draft)
		if err != nil || !h.acknowledged || h.event.EventID != ours[0].event.EventID || !h.event.CreatedAt.Equal(ours[0].event.CreatedAt) {
			t.Errorf("afterwards %+v, %v; want %+v", h, err, ours[0])
		}
	})
}

func TestOldKeysAreForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		s := reopen(t, empty(t))
		defer closed(t, s)
		k, o := &keys{store: s}, &orders{ids: &ids{store: s}}
		request, err := banking.ParseOrderRequest([]byte(order))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"one", "two", "three"} {
			if _, err := k.reserve(t.Context(), key, request, o.draft); err != nil {
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
