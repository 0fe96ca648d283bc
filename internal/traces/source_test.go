package traces

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// page answers as sentinelle does, from a source.
func page(t *testing.T, source Source, token string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /traces/{id}", func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); token != "" && got != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		found, err := Find(r.Context(), source, r.PathValue("id"))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"type":"x","detail":"no such trace"}`)
			return
		}
		_ = json.NewEncoder(w).Encode(NewTree(found))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// What a page tells of a trace is what its source has.
func TestAPageTellsWhatItsSourceHas(t *testing.T) {
	recent := NewRecent(Limits{})
	m := join(t, recent, "commande")
	carried := m.process(m.request("order-1"), errors.New("timeout"))
	want, err := recent.Order(t.Context(), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Spans { // as it travels
		want.Spans[i].Start = want.Spans[i].Start.Truncate(time.Microsecond)
		want.Spans[i].Duration = want.Spans[i].Duration.Truncate(time.Microsecond)
	}
	instance := Instance{URL: page(t, recent, "sesame"), Token: "sesame", Timeout: time.Minute}
	for what, ask := range map[string]func() (Trace, error){
		"order": func() (Trace, error) { return instance.Order(t.Context(), "order-1") },
		"trace": func() (Trace, error) { return instance.Trace(t.Context(), carried.TraceID().String()) },
	} {
		got, err := ask()
		if err != nil || names(got) != names(want) || !reflect.DeepEqual(NewTree(got), NewTree(want)) {
			t.Errorf("by its %s: %+v, %v; want %+v", what, got, err, want)
		}
	}
	if _, err := instance.Order(t.Context(), "order-2"); !errors.Is(err, ErrUnknownTrace) {
		t.Errorf("an order that never was: %v", err)
	}
	instance.Token = ""
	if _, err := instance.Order(t.Context(), "order-1"); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "401") {
		t.Errorf("without its token: %v", err)
	}
	for _, url := range []string{"", "ftp://x", "http://127.0.0.1:1"} {
		if _, err := (Instance{URL: url}).Order(t.Context(), "order-1"); !errors.Is(err, ErrAway) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// Whatever a page answers, what is made of it can be printed.
func FuzzReadDocument(f *testing.F) {
	body, err := json.Marshal(NewTree(example(f, "odd")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"traceId":"` + testTrace + `","spans":[{"spanId":"\u001b[2J","start":"0001-01-01T00:00:00Z","durationMicros":-1}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		found, err := readDocument(body)
		if err != nil {
			return
		}
		tree := NewTree(found)
		text := Report{TraceID: found.ID, Tree: tree}.Text(0)
		printable(t, text)
		for _, row := range tree.Rows() {
			if row.From < 0 || row.Width < 0 || row.From+row.Width > 1.0001 {
				t.Errorf("row %+v", row)
			}
		}
	})
}

// Jaeger finds an order by its records' key, and of several traces the last.
func TestJaegerFindsAnOrder(t *testing.T) {
	known, err := os.ReadFile("testdata/authorized.json")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/api/traces" || q.Get("service") != "commande" || q.Get("limit") == "" || q.Get("start") == "" {
			t.Errorf("asked for %s", r.URL)
		}
		if q.Get("tags") != `{"messaging.kafka.message.key":"order-1"}` {
			fmt.Fprint(w, `{"data":[]}`)
			return
		}
		older := `{"data":[{"spans":[{"traceID":"1","spanID":"2","operationName":"POST /orders","startTime":1}]},`
		_, _ = w.Write([]byte(strings.Replace(string(known), `{"data":[`, older, 1)))
	}))
	defer server.Close()
	jaeger := Jaeger{URL: server.URL}
	if found, err := jaeger.Order(t.Context(), "order-1"); err != nil || found.ID != testTrace || len(found.Spans) != 6 {
		t.Errorf("found %s with %d spans, %v", found.ID, len(found.Spans), err)
	}
	if _, err := jaeger.Order(t.Context(), "order-2"); !errors.Is(err, ErrUnknownTrace) {
		t.Errorf("an order that never was: %v", err)
	}
}
