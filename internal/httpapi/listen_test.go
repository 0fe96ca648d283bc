package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestListenAll(t *testing.T) {
	taken, err := httpapi.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, tt := range map[string]struct {
		addresses string
		want      int
	}{
		"one":                {"127.0.0.1:0", 1},
		"two":                {"127.0.0.1:0,127.0.0.1:0", 2},
		"with blanks":        {"127.0.0.1:0, 127.0.0.2:0", 2},
		"the second in use":  {"127.0.0.1:0," + taken.Addr().String(), 0},
		"an empty one":       {"127.0.0.1:0,,127.0.0.1:0", 0},
		"one not ours":       {"192.0.2.1:0,127.0.0.1:0", 0},
		"nothing but commas": {",", 0},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := httpapi.ListenAll(t.Context(), tt.addresses)
			if len(all) != tt.want {
				t.Errorf("%d listeners, want %d", len(all), tt.want)
			}
			if got := errors.Is(err, httpapi.ErrAddress); got != (tt.want == 0) {
				t.Errorf("listen on %s: %v", tt.addresses, err)
			}
			if err := all.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was bound before the address that could not be had is free again.
func TestListenAllLeavesNothingBehind(t *testing.T) {
	first, err := httpapi.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if all, err := httpapi.ListenAll(t.Context(), address+",192.0.2.1:0"); err == nil {
		t.Fatal(errors.Join(errors.New("listens on an address that is not ours"), all.Close()))
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the first address is still bound: %v", err)
	}
	_ = again.Close()
}

// onTwo serves "here" on two addresses.
func onTwo(t *testing.T, ctx context.Context) (httpapi.Listeners, *httpapi.Server, chan error) {
	t.Helper()
	all, err := httpapi.ListenAll(ctx, "127.0.0.1:0,127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }), quiet(), httpapi.ServerConfig{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, all...) }()
	return all, server, served
}

func TestServeAnswersOnEveryAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	all, server, served := onTwo(t, ctx)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, l := range all {
		r, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil || string(body) != "here" {
			t.Errorf("%s answers %q, %v", l.Addr(), body, err)
		}
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("served with %v after a shutdown", err)
	}
}

// A server that lost one of its addresses ends, so that it is noticed.
func TestServeEndsWithItsFirstListener(t *testing.T) {
	all, _, served := onTwo(t, t.Context())
	if err := all[1].Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("served with %v, want net.ErrClosed", err)
	}
	if c, err := net.Dial("tcp", all[0].Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the other address is still served")
	}
}
