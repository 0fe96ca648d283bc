package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/loopback"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	leaks.Main(m)
}

func TestReadinessIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		var looks atomic.Int64
		r := telemetrytest.New(t, "shop", Common())
		well := &httpapi.Readiness{}
		well.Add("storage", func(context.Context) error {
			looks.Add(1)
			if away.Load() {
				return errors.New("away")
			}
			return nil
		})
		well.Add("kafka", func(context.Context) error { return nil })
		ready, err := newReadiness(r.Instruments(), well.Look)
		if err != nil {
			t.Fatal(err)
		}
		want := func(when string, value float64) {
			t.Helper()
			if got := r.Metric(readyMetric, nil); got != value {
				t.Errorf("%s service_ready is %v, want %v", when, got, value)
			}
		}
		part := func(name string, value float64) {
			t.Helper()
			if got := r.Metric(partsMetric, map[string]string{"part": name}); got != value {
				t.Errorf("part %s is %v, want %v", name, got, value)
			}
		}
		want("before the first look", 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- ready.run(ctx) }()
		synctest.Wait()
		want("at the start", 1)
		away.Store(true)
		want("before the next look", 1)
		before := looks.Load()
		<-time.After(readyInterval) // the bubble's
		synctest.Wait()
		want("without storage", 0)
		part("storage", 0)
		part("kafka", 1) // though it comes after what is away
		away.Store(false)
		<-time.After(readyInterval)
		synctest.Wait()
		want("with storage again", 1)
		part("storage", 1)
		if n := looks.Load() - before; n != 2 {
			t.Errorf("%d looks in two intervals: scrapes must not look", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want("after the stop", 0)
	})
}

// No waiting fixes a storage that is damaged: the service ends.
func TestADamagedStorageEndsTheService(t *testing.T) {
	r := telemetrytest.New(t, "shop", Common())
	damaged := fmt.Errorf("storage: %w", storage.ErrDamaged)
	ready, err := newReadiness(r.Instruments(), func(context.Context) ([]httpapi.PartState, error) { return nil, damaged })
	if err != nil {
		t.Fatal(err)
	}
	if err := ready.run(t.Context()); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("ended with %v, want ErrDamaged", err)
	}
}

func TestTokensThatLeaveTheMachine(t *testing.T) {
	for addresses, want := range map[string]bool{
		"127.0.0.1:3001": false, "[::1]:3001": false, "localhost:3001": false, "127.0.0.1:3001, 127.0.0.2:3001": false,
		":3001": true, "0.0.0.0:3001": true, "192.0.2.1:3001": true, "clerk.example:3001": true, "127.0.0.1:3001,172.17.0.1:3001": true,
	} {
		if got := !loopback.All(addresses); got != want {
			t.Errorf("%s: %v, want %v", addresses, got, want)
		}
	}
}

// stuck is a collector that says when a scrape has reached it and keeps it there.
type stuck struct{ entered, release chan struct{} }

func (s stuck) Describe(chan<- *prometheus.Desc) {}

func (s stuck) Collect(chan<- prometheus.Metric) {
	s.entered <- struct{}{}
	<-s.release
}

// Of scrapes the router is the only bound: one too many is told when to come
// again, in a problem document as from any other route.
func TestOneScrapeTooManyIsAProblem(t *testing.T) {
	const most = 16
	s := &Service{base: &Base{Definition: Definition{Name: "shop"}, Stack: &lifecycle.Stack{}, Ready: &httpapi.Readiness{}}}
	settings := Settings{LogWriter: io.Discard}.withDefaults()
	for _, step := range []func(context.Context, Settings) error{s.observe, s.route} {
		if err := step(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	c := stuck{make(chan struct{}), make(chan struct{})}
	s.base.Telemetry.Registry().MustRegister(c)
	scrape := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.base.Router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w
	}
	var scraping sync.WaitGroup
	for range most {
		scraping.Go(func() {
			if w := scrape(); w.Code != http.StatusOK {
				t.Errorf("a scrape: %d %s", w.Code, w.Body)
			}
		})
	}
	for range most {
		<-c.entered
	}
	w := scrape()
	var p httpapi.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Type != httpapi.Busy || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("one too many: %d %v %s, %v", w.Code, w.Header(), w.Body, err)
	}
	close(c.release)
	scraping.Wait()
}

// hungTelemetry is one whose collector hangs.
type hungTelemetry struct{}

func (hungTelemetry) Shutdown(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("exporter of logs still runs: %w", ctx.Err())
}

// A collector that hangs takes a share of a stop's time, and is told, but the stop does not fail for it.
func TestATelemetryThatHangsFailsNoStop(t *testing.T) {
	for name, c := range map[string]struct{ left, most time.Duration }{
		"little time left": {flushShare * time.Second, time.Second},
		"much time left":   {time.Hour, flushTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.left)
				defer cancel()
				var log bytes.Buffer
				start := time.Now()
				flush(ctx, hungTelemetry{}, slog.New(slog.NewJSONHandler(&log, nil)))
				if took := time.Since(start); took != c.most {
					t.Errorf("it took %v of %v, want %v", took, c.left, c.most)
				}
				if text := log.String(); !strings.Contains(text, `"level":"WARN"`) || !strings.Contains(text, "exporter of logs still runs") {
					t.Errorf("the log does not tell it: %s", text)
				}
			})
		})
	}
}
