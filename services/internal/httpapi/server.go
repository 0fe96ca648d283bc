package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Time-outs for every phase of a request, so that a slow client holds a
// connection for a bounded time and the bounded memory behind it.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
)

// ErrAddress: the address to listen on is taken or not one of this machine.
var ErrAddress = errors.New("cannot listen")

// Listen binds the address (host:port; port 0 picks a free one).
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" { // which would be every address
		return nil, fmt.Errorf("%w: no address", ErrAddress)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w", ErrAddress, address, err)
	}
	return l, nil
}

// ListenAll binds each of the addresses, which are separated by commas, or
// none of them: a service on a machine with containers listens on loopback and
// on the containers' gateway, and needs not listen everywhere for that.
func ListenAll(ctx context.Context, addresses string) (Listeners, error) {
	var all Listeners
	for address := range strings.SplitSeq(addresses, ",") {
		l, err := Listen(ctx, strings.TrimSpace(address))
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all = append(all, l)
	}
	return all, nil
}

// Listeners are the addresses of one server, the first of which it is known
// by.
type Listeners []net.Listener

// Close closes all of them.
func (all Listeners) Close() error {
	var errs []error
	for _, l := range all {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Server serves one service.
type Server struct {
	http *http.Server
}

// NewServer makes a server for the handler.
func NewServer(handler http.Handler, log *slog.Logger) *Server {
	return &Server{&http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers requests until ctx ends or a listener fails, which closes the
// others. Stopping is [Server.Shutdown]'s.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ended := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { ended <- s.http.Serve(l) })
	}
	err := <-ended
	if !errors.Is(err, http.ErrServerClosed) {
		_ = Listeners(listeners).Close() // the first failure is the one to tell
	}
	serving.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		<-ctx.Done()
		return nil
	}
	return fmt.Errorf("serve http: %w", err)
}

// Shutdown takes no more requests and waits for those under way; past ctx's
// deadline it closes their connections.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("finish requests: %w", err), s.http.Close())
	}
	return nil
}
