package service

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/httpapi"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// ask asks a service once and keeps no connection.
func ask(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}

// While a service's own part starts, health is answered and readiness says what
// is awaited.
func TestAServiceAnswersWhileItStarts(t *testing.T) {
	cfg, _ := testkafka.Embedded(t)
	for name, failure := range map[string]error{"started": nil, "failed": errors.New("no luck")} {
		t.Run(name, func(t *testing.T) {
			address, wiring, goOn := testproc.Address(t), make(chan struct{}), make(chan struct{})
			def := Definition{Name: "clerk", Wire: func(_ context.Context, b *Base) error {
				b.Ready.Add("ledger", func(context.Context) error {
					select {
					case <-goOn:
						return nil
					default:
						return errors.New("rebuilding, 1 of 2")
					}
				})
				close(wiring)
				<-goOn
				b.Router.Handle("GET /orders", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
				return failure
			}}
			settings := Settings{Address: address, Brokers: cfg.Brokers, DatabaseURL: "sqlite:" + t.TempDir(), LogWriter: io.Discard}
			type outcome struct {
				s   *Service
				err error
			}
			started := make(chan outcome, 1)
			go func() {
				s, err := Start(t.Context(), settings, def)
				started <- outcome{s, err}
			}()
			select {
			case <-wiring:
			case o := <-started:
				t.Fatalf("Start = %v before its own part", o.err)
			}
			for path, want := range map[string]int{"/health": http.StatusOK, "/": http.StatusOK, "/metrics": http.StatusOK, "/health/ready": http.StatusServiceUnavailable} {
				status, body := ask(t, "http://"+address+path)
				if status != want || path == "/health/ready" && !strings.Contains(body, "ledger: rebuilding, 1 of 2") ||
					path == "/metrics" && !strings.Contains(body, `service_ready{service="clerk"} 0`) {
					t.Errorf("meanwhile %s is %d: %s", path, status, body)
				}
			}
			close(goOn)
			o := <-started
			if !errors.Is(o.err, failure) {
				t.Errorf("Start = %v", o.err)
			}
			if o.s == nil {
				return
			}
			if status, _ := ask(t, "http://"+address+"/orders"); status != http.StatusNoContent {
				t.Errorf("the own route is %d", status)
			}
			if err := o.s.Ready(t.Context()); err != nil {
				t.Errorf("started and not ready: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := o.s.Stop(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// Requests for routes that are not there yet wait, until these are added, or
// never will be, or the client has gone.
func TestTheGate(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for name, tt := range map[string]struct {
		end  func(g *gate, leave func())
		want int
	}{
		"opened": {func(g *gate, _ func()) { g.open() }, http.StatusNoContent},
		"shut":   {func(g *gate, _ func()) { g.shut() }, http.StatusServiceUnavailable},
		"left":   {func(_ *gate, leave func()) { leave() }, http.StatusServiceUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := gate{decided: make(chan struct{})}
			handler := g.before(httpapi.NewRouter(httpapi.Config{Service: "clerk", Metrics: ok}), ok)
			if status := answerOf(t.Context(), handler, "/health"); status != http.StatusNoContent {
				t.Errorf("%s: a route that is there: %d", name, status)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			answered := make(chan int, 1)
			go func() { answered <- answerOf(ctx, handler, "/orders") }()
			synctest.Wait()
			select {
			case status := <-answered:
				t.Fatalf("%s: answered at once: %d", name, status)
			default:
			}
			tt.end(&g, leave)
			if status := <-answered; status != tt.want {
				t.Errorf("%s: %d, want %d", name, status, tt.want)
			}
		})
	}
}

func answerOf(ctx context.Context, handler http.Handler, path string) int {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return recorder.Code
}
