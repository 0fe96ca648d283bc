package profiling_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/profiling"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func start(t *testing.T) (*lifecycle.Stack, string) {
	t.Helper()
	stack := &lifecycle.Stack{}
	url, err := profiling.Start(t.Context(), stack, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return stack, url
}

func stop(t *testing.T, stack *lifecycle.Stack) {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := stack.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func ask(t *testing.T, url, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestProfilesAreServed(t *testing.T) {
	stack, url := start(t)
	defer stop(t, stack)
	for path, want := range map[string]string{
		"":                    "heap",
		"goroutine?debug=1":   "goroutine profile",
		"cmdline":             "profiling.test",
		"profile?seconds=1":   "\x1f\x8b", // gzip
		"allocs?debug=1&gc=1": "heap profile",
		"trace?seconds=0.01":  "go 1.",
		"symbol?0x1":          "num_symbols",
		"mutex?debug=1":       "mutex",
	} {
		if status, body := ask(t, url+path, ""); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d %.80q, want %q", path, status, body, want)
		}
	}
	if status, _ := ask(t, strings.TrimSuffix(url, "debug/pprof/"), ""); status != http.StatusNotFound {
		t.Errorf("GET / = %d, want 404", status)
	}
}

func TestOnlyThisMachineAsks(t *testing.T) {
	stack, url := start(t)
	defer stop(t, stack)
	for host, want := range map[string]int{
		"evil.example": http.StatusForbidden, "evil.example:80": http.StatusForbidden, "10.0.0.1": http.StatusForbidden,
		"localhost": http.StatusOK, "127.0.0.1:6060": http.StatusOK, "[::1]:6060": http.StatusOK,
	} {
		if status, _ := ask(t, url, host); status != want {
			t.Errorf("Host %s is answered %d, want %d", host, status, want)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for address, want := range map[string]string{
		":6060": "not a loopback address", "0.0.0.0:6060": "not a loopback address", "[::]:6060": "not a loopback address",
		"192.0.2.1:6060": "not a loopback address", "host.example:6060": "not a loopback address",
		"127.0.0.1": "not host:port", taken.Addr().String(): "in use",
	} {
		stack := &lifecycle.Stack{}
		_, err := profiling.Start(t.Context(), stack, address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start(%s) = %v, want %q", address, err, want)
			stop(t, stack)
		}
		if loopback := errors.Is(err, profiling.ErrNotLoopback); loopback != (want == "not a loopback address") {
			t.Errorf("Start(%s): ErrNotLoopback is %v", address, loopback)
		}
	}
}

// A stop does not wait for a profile of an hour.
func TestStopCutsAProfileOff(t *testing.T) {
	stack, url := start(t)
	done := make(chan error, 1)
	go func() {
		answer, err := http.Get(url + "profile?seconds=3600")
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
		done <- err
	}()
	for taken := ""; !strings.Contains(taken, "net/http/pprof.Profile"); {
		select {
		case err := <-done:
			t.Fatalf("the profile ended by itself: %v", err)
		default:
			_, taken = ask(t, url+"goroutine?debug=2", "")
		}
	}
	stop(t, stack)
	if err := <-done; err != nil {
		t.Logf("the profile ended with %v", err)
	}
}

// What net/http/pprof does to the default mux on import must not matter.
func TestTheDefaultMuxIsNotServed(t *testing.T) {
	before := http.DefaultServeMux
	http.DefaultServeMux = http.NewServeMux()
	t.Cleanup(func() { http.DefaultServeMux = before })
	http.HandleFunc("GET /default", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	stack, url := start(t)
	defer stop(t, stack)
	if status, _ := ask(t, strings.Replace(url, "/debug/pprof/", "/default", 1), ""); status != http.StatusNotFound {
		t.Errorf("a page of the default mux is answered %d, want 404", status)
	}
}
