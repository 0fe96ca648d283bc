package commande

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
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
			synctest.Test(t, func(t *testing.T) { // the time-out passes by itself
				s := openShop(t)
				s.broker.answer = answer
				w := s.post(t.Context(), order)
				problem(t, w, httpapi.UnknownOutcome)
				if w.Header().Get("Retry-After") != "2" || strings.Contains(w.Body.String(), "user-secret") {
					t.Errorf("headers %v, problem %s", w.Header(), w.Body)
				}
				s.counts(t, 0, 0, map[int]int{503: 1})
				s.broker.answer = nil
				if w := s.post(t.Context(), order); !strings.Contains(w.Body.String(), `"order-2"`) {
					t.Errorf("the id of an order with unknown outcome is given again: %s", w.Body)
				}
				s.counts(t, 1, 765432, map[int]int{201: 1, 503: 1})
			})
		})
	}
}

// An order that its topic does not take is not in the log: its outcome is known.
func TestAnOrderThatItsTopicDoesNotTake(t *testing.T) {
	s := openShop(t)
	s.broker.answer = func(context.Context) error {
		return errors.Join(kafka.ErrUnacknowledged, &kafka.TooLargeError{Records: []int{0}, Err: errors.New("refused")})
	}
	w := s.postKeyed(t.Context(), "k", order)
	if p := problem(t, w, httpapi.LargeOrder); w.Header().Get("Retry-After") != "" || strings.Contains(p.Detail, "secret") {
		t.Errorf("headers %v, problem %+v", w.Header(), p)
	}
	s.counts(t, 0, 0, map[int]int{413: 1})
	if span := s.Span("send orders.created"); span.Status.Code != codes.Error {
		t.Errorf("the send ended with %v", span.Status)
	}
	if logs := s.Logs(); logs[len(logs)-1]["msg"] != "order larger than its topic takes" {
		t.Errorf("log %v", logs)
	}
	s.broker.answer = nil // vigie topics has set it right
	if w := s.postKeyed(t.Context(), "k", order); !strings.Contains(w.Body.String(), `"order-1"`) {
		t.Errorf("with the same key: %s", w.Body)
	}
}

// An order that failed before it was published is distinguished from one whose
// outcome is unknown: nothing was done, so asking again is safe without a key.
func TestAnOrderThatCannotBeStored(t *testing.T) {
	for name, post := range map[string]func(*shop) *httptest.ResponseRecorder{
		"without a key": func(s *shop) *httptest.ResponseRecorder { return s.post(t.Context(), order) },
		"with a key":    func(s *shop) *httptest.ResponseRecorder { return s.postKeyed(t.Context(), "k", order) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t)
			s.orders.ackTimeout = 0 // over before the storage is used
			w := post(s)
			problem(t, w, httpapi.StorageAway)
			if w.Header().Get("Retry-After") != "2" || len(s.broker.sent) != 0 {
				t.Errorf("headers %v, %d orders published", w.Header(), len(s.broker.sent))
			}
			s.counts(t, 0, 0, map[int]int{503: 1})
			s.orders.ackTimeout = patience
			if w := post(s); !strings.Contains(w.Body.String(), `"order-1"`) {
				t.Errorf("afterwards: %s", w.Body)
			}
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

func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func TestOrdersThatAreRefused(t *testing.T) {
	items := func(n int) string { return `["i"` + strings.Repeat(`,"i"`, n-1) + `]` }
	tests := []struct{ name, body, field string }{
		{"no body", "", ""},
		{"only space", " \n", ""},
		{"no JSON", `{"userId":"user-secret"`, ""},
		{"two values", `{"userId":"user-secret","amount":1} {}`, ""},
		{"an array", `[{"userId":"user-secret","amount":1}]`, ""},
		{"null", `null`, ""},
		{"not UTF-8", "{\"userId\":\"user-secret\xff\",\"amount\":1}", ""},
		{"half a pair", `{"userId":"user-secret\ud800","amount":1}`, ""},
		{"no user", `{"amount":1234.56}`, "userId"},
		{"null user", `{"userId":null,"amount":1234.56}`, "userId"},
		{"empty user", `{"userId":"","amount":1234.56}`, "userId"},
		{"blank user", `{"userId":" \t","amount":1234.56}`, "userId"},
		{"numeric user", `{"userId":1234.56,"amount":1}`, "userId"},
		{"long user", `{"userId":"` + strings.Repeat("é", 129) + `","amount":1}`, "userId"},
		{"control in user", `{"userId":"user-secret\u0000","amount":1}`, "userId"},
		{"user twice", `{"userId":"user-secret","userId":"user-secret","amount":1}`, "userId"},
		{"no amount", `{"userId":"user-secret"}`, "amount"},
		{"null amount", `{"userId":"user-secret","amount":null}`, "amount"},
		{"amount in text", `{"userId":"user-secret","amount":"1234.56"}`, "amount"},
		{"zero", `{"userId":"user-secret","amount":0.00}`, "amount"},
		{"negative", `{"userId":"user-secret","amount":-1234.56}`, "amount"},
		{"three decimals", `{"userId":"user-secret","amount":1234.561}`, "amount"},
		{"too much", `{"userId":"user-secret","amount":1000000.01}`, "amount"},
		{"far too much", `{"userId":"user-secret","amount":1e999999999}`, "amount"},
		{"items in text", `{"userId":"user-secret","amount":1,"items":"secret tea"}`, "items"},
		{"numeric item", `{"userId":"user-secret","amount":1,"items":["secret tea",1234.56]}`, "items"},
		{"101 items", `{"userId":"user-secret","amount":1,"items":` + items(101) + `}`, "items"},
	}
	s := openShop(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := s.post(t.Context(), test.body)
			p := problem(t, w, httpapi.InvalidRequest)
			if p.Field != test.field || p.Problem == "" || p.Accepted == "" || !strings.Contains(p.Detail, p.Accepted) {
				t.Errorf("problem %+v, want it to name %q, what was wrong and what is accepted", p, test.field)
			}
			for _, value := range []string{"user-secret", "1234.5", "secret tea", "999999999", "éé"} {
				if strings.Contains(w.Body.String(), value) {
					t.Errorf("the problem repeats %q: %s", value, w.Body)
				}
			}
		})
	}
	s.counts(t, 0, 0, map[int]int{400: len(tests)})
	s.discreet(t, "user-secret", "1234.5", "secret tea")
	if len(s.broker.sent) != 0 {
		t.Errorf("%d refused orders are published", len(s.broker.sent))
	}
	if w := s.post(t.Context(), order); !strings.Contains(w.Body.String(), `"order-1"`) {
		t.Errorf("refused orders take ids: %s", w.Body)
	}
}

func TestOrdersAtTheLimitsAreTaken(t *testing.T) {
	s := openShop(t)
	for _, body := range []string{
		`{"userId":"` + strings.Repeat("é", 128) + `","amount":1000000.00}`,
		` {"items":null,"amount":1.500,"userId":"u"} `,
		`{"userId":"u","amount":1,"items":["i"` + strings.Repeat(`,"i"`, 99) + `]}`,
	} {
		if w := s.post(t.Context(), body); w.Code != http.StatusCreated {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestTheBodyIsBounded(t *testing.T) {
	fill := func(size int) string {
		body := `{"userId":"u","amount":1,"note":` + quoted("")
		return body[:len(body)-1] + strings.Repeat("x", size-len(body)-1) + `"}`
	}
	for size, status := range map[int]int{64 << 10: http.StatusCreated, 64<<10 + 1: http.StatusRequestEntityTooLarge} {
		s := openShop(t)
		body := fill(size)
		if len(body) != size || !utf8.ValidString(body) || !json.Valid([]byte(body)) {
			t.Fatalf("the test's body has %d bytes, want %d", len(body), size)
		}
		w := s.post(t.Context(), body)
		if w.Code != status {
			t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
		}
		taken := 0
		if status == http.StatusCreated {
			taken = 1
		}
		s.counts(t, taken, int64(100*taken), map[int]int{status: 1})
		if taken == 0 && !strings.Contains(problem(t, w, httpapi.LargeBody).Detail, "65536") {
			t.Errorf("%d bytes: %s", size, w.Body)
		}
	}
	if banking.MaxBody != 64<<10 {
		t.Errorf("the bound is %d bytes", banking.MaxBody)
	}
}

func TestABodyThatBreaksOff(t *testing.T) {
	s := openShop(t)
	r := httptest.NewRequest(http.MethodPost, "/orders", iotest.ErrReader(errors.New("secret fault")))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.counts(t, 0, 0, map[int]int{400: 1})
}

func TestKeysAreReadAsTheDraftHasThemOrBare(t *testing.T) {
	same := hash("8e03978e-40d5-43dd-bc93-6894a57f9324")
	for name, tt := range map[string]struct {
		values []string
		want   string
		err    error
	}{
		"none":                {nil, "", nil},
		"a string":            {[]string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`}, same, nil},
		"bare":                {[]string{`8e03978e-40d5-43dd-bc93-6894a57f9324`}, same, nil},
		"spaces around":       {[]string{" \t8e03978e-40d5-43dd-bc93-6894a57f9324 "}, same, nil},
		"escapes":             {[]string{`"a\"b\\c"`}, hash(`a"b\c`), nil},
		"the longest":         {[]string{strings.Repeat("k", 255)}, hash(strings.Repeat("k", 255)), nil},
		"too long":            {[]string{strings.Repeat("k", 256)}, "", errKey},
		"empty":               {[]string{""}, "", errKey},
		"an empty string":     {[]string{`""`}, "", errKey},
		"two":                 {[]string{"a", "a"}, "", errKey},
		"no end":              {[]string{`"abc`}, "", errKey},
		"one quote":           {[]string{`"`}, "", errKey},
		"a quote inside":      {[]string{`"a"b"`}, "", errKey},
		"an unknown escape":   {[]string{`"a\b"`}, "", errKey},
		"an escape cut short": {[]string{`"a\"`}, "", errKey},
		"no ASCII":            {[]string{"clé"}, "", errKey},
		"a control character": {[]string{"a\x7fb"}, "", errKey},
	} {
		header := http.Header{}
		for _, v := range tt.values {
			header.Add(headerKey, v)
		}
		if got, err := readKey(&http.Request{Header: header}); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, tt.want, tt.err)
		}
	}
}

func FuzzReadKey(f *testing.F) {
	for _, seed := range []string{`"a"`, "a", `"a\"b"`, "\x00", `"\`, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := readKey(&http.Request{Header: http.Header{headerKey: {value}}})
		if (err == nil) != (len(got) == 64) || strings.Contains(value, got) && got != "" && len(value) != 64 {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	})
}
