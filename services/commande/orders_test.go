package commande

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
)

const order = `{"userId":"user-secret","amount":7654.32,"items":["secret tea"],"colour":"ignored"}`

// sentHeaders returns the headers of the n-th record.
func (s *shop) sentHeaders(n int) map[string]string {
	headers := map[string]string{}
	for _, h := range s.broker.sent[n].Headers {
		headers[string(h.Key)] = string(h.Value)
	}
	return headers
}

func TestAnAcknowledgedOrder(t *testing.T) {
	s := openShop(t)
	before := time.Now().Add(-time.Second)
	w := s.post(t.Context(), order)
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	eventID, _ := answer["eventId"].(string)
	want := map[string]any{"orderId": "order-1", "eventId": eventID, "status": "created", "message": "Order accepted; its payment will be decided shortly."}
	if diff := cmp.Diff(want, answer); w.Code != http.StatusCreated || len(eventID) != 36 || diff != "" {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}

	m := s.broker.sent[0]
	key, _ := m.Key.Encode()
	value, _ := m.Value.Encode()
	event, err := banking.Decode(banking.TypeOrderCreated, value)
	if err != nil {
		t.Fatal(err)
	}
	created, _ := event.(banking.OrderCreated)
	if at := created.CreatedAt; at.Before(before) || at.After(time.Now()) {
		t.Errorf("created at %v", at)
	}
	created.CreatedAt = time.Time{}
	if diff := cmp.Diff(banking.OrderCreated{
		EventID: eventID, OrderID: "order-1", UserID: "user-secret", Amount: 765432, Items: []string{"secret tea"}, Status: "CREATED",
	}, created); diff != "" || string(key) != "order-1" || m.Topic != "orders.created" {
		t.Errorf("record %s on %s (-want +got):\n%s", key, m.Topic, diff)
	}
	if h := s.sentHeaders(0); h["eventId"] != eventID || h["eventType"] != "OrderCreated" {
		t.Errorf("headers %v", h)
	}
	s.counts(t, 1, 765432, map[int]int{201: 1})
	s.discreet(t, "user-secret", "secret tea", "7654.32", "765432")
}

// spanOf checks the record's span: a child of the request's, and what the
// record's headers carry.
func (s *shop) spanOf(t *testing.T, remote trace.SpanContext) tracetest.SpanStub {
	t.Helper()
	send, request := s.Span("send orders.created"), s.Span("POST /orders")
	if send.Parent.SpanID() != request.SpanContext.SpanID() || send.SpanContext.TraceID() != remote.TraceID() || request.Parent.SpanID() != remote.SpanID() {
		t.Errorf("span %v under %v, request under %v", send.SpanContext, send.Parent, request.Parent)
	}
	carried := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier(s.sentHeaders(0))))
	if carried.TraceID() != send.SpanContext.TraceID() || carried.SpanID() != send.SpanContext.SpanID() {
		t.Errorf("traceparent %q does not name the span %v", s.sentHeaders(0)["traceparent"], send.SpanContext)
	}
	return send
}

func clientContext(t *testing.T) (context.Context, trace.SpanContext, http.Header) {
	t.Helper()
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	header := http.Header{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(t.Context(), remote), propagation.HeaderCarrier(header))
	return t.Context(), remote, header
}

func TestAnOrderIsTracedAndLogged(t *testing.T) {
	away := errors.Join(kafka.ErrUnacknowledged, errors.New("no broker"))
	for name, failure := range map[string]error{"acknowledged": nil, "refused": away} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t)
			s.broker.answer = func(context.Context) error { return failure }
			ctx, remote, header := clientContext(t)
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/orders", strings.NewReader(order))
			r.Header = header
			s.ServeHTTP(httptest.NewRecorder(), r)
			span := s.spanOf(t, remote)
			logs := s.Logs()
			if len(logs) != 1 {
				t.Fatalf("logs %v, want one", logs)
			}
			line := logs[0]
			if line["order_id"] != "order-1" || line["trace_id"] != remote.TraceID().String() {
				t.Errorf("log %v", line)
			}
			if failure == nil && (line["msg"] != "order created" || line["level"] != "INFO" || span.Status.Code == codes.Error) {
				t.Errorf("log %v, span %v", line, span.Status)
			}
			if failure != nil && (line["msg"] != "order not acknowledged" || line["level"] != "ERROR" || span.Status.Code != codes.Error) {
				t.Errorf("log %v, span %v", line, span.Status)
			}
			s.discreet(t, "user-secret", "secret tea", "7654.32", "765432")
		})
	}
}

func TestAnOrderThatKafkaDoesNotAcknowledge(t *testing.T) {
	for name, answer := range map[string]func(context.Context) error{
		"refused":  func(context.Context) error { return kafka.ErrUnacknowledged },
		"too late": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t)
			s.broker.answer, s.orders.ackTimeout = answer, time.Second/20
			w := s.post(t.Context(), order)
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "2" || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d, headers %v", w.Code, w.Header())
			}
			if !strings.Contains(w.Body.String(), "may or may not") || strings.Contains(w.Body.String(), "user-secret") {
				t.Errorf("problem %s", w.Body)
			}
			s.counts(t, 0, 0, map[int]int{503: 1})
			s.broker.answer = nil
			if w := s.post(t.Context(), order); !strings.Contains(w.Body.String(), `"order-2"`) {
				t.Errorf("the id of an order with unknown outcome is given again: %s", w.Body)
			}
			s.counts(t, 1, 765432, map[int]int{201: 1, 503: 1})
		})
	}
}

func TestAmountsSumToTheCent(t *testing.T) {
	s := openShop(t)
	var cents int64
	for body, c := range map[string]int64{"0.01": 1, "10.10": 1010, "1.50e1": 1500, "999999.99": 99_999_999, "1000000": 100_000_000, "0.1": 10, "0.2": 20} {
		if w := s.post(t.Context(), `{"userId":"u","amount":`+body+`}`); w.Code != http.StatusCreated {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
		cents += c
	}
	s.counts(t, 7, cents, map[int]int{201: 7})
}

func TestAClientThatHangsUpDoesNotUndoItsOrder(t *testing.T) {
	t.Run("before its id", func(t *testing.T) {
		s := openShop(t)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		s.post(over, order)
		s.counts(t, 1, 765432, map[int]int{201: 1})
	})
	t.Run("while it is sent", func(t *testing.T) {
		s := openShop(t)
		server := httptest.NewUnstartedServer(nil)
		gone, handled := make(chan struct{}), make(chan struct{})
		ctx, hangUp := context.WithCancel(t.Context())
		server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(handled)
			go func() { <-r.Context().Done(); close(gone) }()
			s.ServeHTTP(w, r)
		})
		s.broker.answer = func(sending context.Context) error {
			hangUp()
			<-gone // the server has seen it
			return sending.Err()
		}
		server.Start()
		defer server.Close()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/orders", strings.NewReader(order))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err == nil {
			_ = answer.Body.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("answer %v, %v; want to have hung up", answer, err)
		}
		<-handled
		s.counts(t, 1, 765432, map[int]int{201: 1})
	})
}
