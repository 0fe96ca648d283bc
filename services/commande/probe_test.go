package commande

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

const probeCredential = "the-credential-of-probes"

// openProbedShop is a shop that knows probes by a credential.
func openProbedShop(t *testing.T, credential string) *shop {
	t.Helper()
	s := openShop(t)
	s.orders.probes = &probes{
		func() secret.Value { return secret.Of(credential) }, s.orders.keys.ids.(*ids), func() (int32, error) { return banking.Partitions, nil },
	}
	return s
}

// postWith posts an order with headers, and returns its id where it was taken.
func (s *shop) postWith(ctx context.Context, body string, headers http.Header) (*httptest.ResponseRecorder, string) {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/orders", strings.NewReader(body))
	r.Header = headers
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var answer accepted
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	return w, answer.OrderID
}

// Probes reach the partition that they are for, and leave ids and counters of orders alone.
func TestProbesReachEveryPartition(t *testing.T) {
	s := openProbedShop(t, probeCredential)
	seen := map[string]bool{}
	for i := range 30 {
		partition := int32(i % banking.Partitions)
		headers := http.Header{banking.HeaderProbe: {probeCredential}, banking.HeaderProbePartition: {strconv.Itoa(int(partition))}}
		if i%2 == 0 {
			headers.Set(headerKey, "key-"+strconv.Itoa(i))
		}
		w, id := s.postWith(t.Context(), `{"userId":"u","amount":0.01}`, headers)
		at, err := kafka.PartitionOf(id, banking.Partitions)
		if w.Code != http.StatusCreated || !banking.IsProbe(id) || seen[id] || err != nil || at != partition {
			t.Fatalf("%d %s: partition %d of %d, %v", w.Code, w.Body, at, partition, err)
		}
		seen[id] = true
	}
	if w, id := s.postWith(t.Context(), `{"userId":"u","amount":0.01}`, http.Header{banking.HeaderProbe: {probeCredential}}); !banking.IsProbe(id) {
		t.Errorf("without a partition: %d %s", w.Code, w.Body)
	}
	for _, wrong := range []string{"3", "-1", "x", "99999999999"} {
		w, _ := s.postWith(t.Context(), `{"userId":"u","amount":0.01}`, http.Header{banking.HeaderProbe: {probeCredential}, banking.HeaderProbePartition: {wrong}})
		problem(t, w, httpapi.InvalidRequest)
	}
	for metric, labels := range map[string]map[string]string{
		ordersTotal: nil, ordersRepeated: nil, catalogue.KafkaMessagesProducedTotal: {"topic": banking.TopicOrdersCreated},
	} {
		if got := s.Metric(metric, labels); got != 0 {
			t.Errorf("%s is %v after probes", metric, got)
		}
	}
	if got := s.Series(catalogue.HTTPRequestsTotal, map[string]string{"route": "/orders"}); got != 0 {
		t.Errorf("%d series of orders have probes", got)
	}
	if got := s.Metric(catalogue.HTTPRequestsTotal, map[string]string{"method": http.MethodPost, "route": httpapi.RouteProbe, "status_code": "201"}); got != 31 {
		t.Errorf("%v probes are counted as such", got)
	}
	if got := s.Series(orderAmountsEuros, nil); got != 0 {
		t.Errorf("%s has %d series after probes", orderAmountsEuros, got)
	}
	if _, id := s.postWith(t.Context(), `{"userId":"u","amount":5}`, nil); id != "order-1" {
		t.Errorf("the first order is %s", id)
	}
	if _, id := s.postWith(t.Context(), `{"userId":"u","amount":5}`, http.Header{banking.HeaderProbe: {probeCredential}}); !strings.HasPrefix(id, "probe-1-") {
		t.Errorf("a probe after order-1 is %s", id)
	}
	s.discreet(t, probeCredential)
}

// A repeated probe is the same one; the same key of a client is an order of its own.
func TestAProbesKeyIsItsOwn(t *testing.T) {
	s := openProbedShop(t, probeCredential)
	headers := http.Header{headerKey: {"k"}, banking.HeaderProbe: {probeCredential}}
	_, first := s.postWith(t.Context(), `{"userId":"u","amount":0.01}`, headers)
	_, again := s.postWith(t.Context(), `{"userId":"u","amount":0.01}`, headers)
	_, order := s.postWith(t.Context(), `{"userId":"u","amount":0.01}`, http.Header{headerKey: {"k"}})
	if !banking.IsProbe(first) || first != again || order != "order-1" {
		t.Errorf("%s, %s, %s", first, again, order)
	}
}

// What a client says of its order makes no probe of it.
func TestAClientCannotMarkItsOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		credential, body string
		headers          http.Header
	}{
		"a guess":                {probeCredential, `{"userId":"u","amount":5}`, http.Header{banking.HeaderProbe: {"guess"}, banking.HeaderProbePartition: {"1"}}},
		"nothing":                {probeCredential, `{"userId":"u","amount":5}`, http.Header{banking.HeaderProbe: {""}}},
		"nothing, where none is": {"", `{"userId":"u","amount":5}`, http.Header{banking.HeaderProbe: {""}}},
		"two":                    {probeCredential, `{"userId":"u","amount":5}`, http.Header{banking.HeaderProbe: {"guess", probeCredential}}},
		"a member":               {probeCredential, `{"userId":"probe","amount":5,"orderId":"probe-0-X","probe":true,"items":["probe-0-X"]}`, nil},
		"a key":                  {probeCredential, `{"userId":"u","amount":5}`, http.Header{headerKey: {"probe-0-X"}}},
		"a request id":           {probeCredential, `{"userId":"u","amount":5}`, http.Header{httpapi.RequestID: {"probe-0-X"}}},
	} {
		s := openProbedShop(t, tt.credential)
		if w, id := s.postWith(t.Context(), tt.body, tt.headers); id != "order-1" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		s.counts(t, 1, 500, nil)
	}
}
