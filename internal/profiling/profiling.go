// Package profiling serves the Go runtime's profiles under /debug/pprof, on an
// address and a mux of their own. It exists to keep them apart from the
// services: profiles show the memory, the command line and the code of the
// process, and taking one costs CPU, so only its own machine gets them. (On
// import net/http/pprof puts them on the default mux too, which nobody serves.)
package profiling

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/loopback"
)

// Time-outs of a request. A profile over a time (?seconds=30) gets that time on
// top of writeTimeout, from net/http/pprof itself.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 30 * time.Second
)

// ErrNotLoopback: other machines could reach the profiles.
var ErrNotLoopback = errors.New("not a loopback address")

// Start serves the profiles on a loopback address (host:port; port 0 picks a
// free one) until the stack stops, and returns where. A profile that is being
// taken then is cut off.
func Start(ctx context.Context, stack *lifecycle.Stack, address string) (string, error) {
	if err := checkLoopback(address); err != nil {
		return "", err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("serve profiles on %s: %w", address, err)
	}
	taking, cut := context.WithCancel(context.WithoutCancel(ctx))
	server := &http.Server{
		Handler:     handler(),
		BaseContext: func(net.Listener) context.Context { return taking },
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	stack.Go("profiles server", func(ctx context.Context) error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve profiles: %w", err)
		}
		<-ctx.Done()
		return nil
	})
	stack.OnStop("profiles", func(ctx context.Context) error {
		cut()
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(fmt.Errorf("finish profiles: %w", err), server.Close())
		}
		return nil
	})
	return "http://" + listener.Addr().String() + "/debug/pprof/", nil
}

// checkLoopback accepts localhost and addresses such as 127.0.0.1 and ::1.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("profiles' address %q is not host:port", address)
	}
	if !loopback.Is(host) {
		return fmt.Errorf("profiles' address %s: %w; profiles show the process's memory, use 127.0.0.1", address, ErrNotLoopback)
	}
	return nil
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return onlyLocalNames(mux)
}

// onlyLocalNames refuses requests that were sent to another name: a web page
// whose name was made to mean 127.0.0.1 asks from this machine as well.
func onlyLocalNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback.Is(r.Host) {
			http.Error(w, "profiles are for this machine: use 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
