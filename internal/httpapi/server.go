package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/files"
)

// maxHeaderBytes bounds a request's line and headers.
const maxHeaderBytes = 16 << 10

// ServerConfig bounds what one connection can take. The zero value has every
// default.
type ServerConfig struct {
	// HeaderTimeout is the time that a request's headers may take to arrive,
	// and a TLS handshake (default 5 s).
	HeaderTimeout time.Duration
	// ReadTimeout is the time for headers and a body that no handler wants
	// (default 15 s); for others see [Config].
	ReadTimeout time.Duration
	// WriteTimeout is the time from the headers to the end of the answer
	// (default 30 s).
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection is kept without a request (default
	// 60 s).
	IdleTimeout time.Duration
	// Certificate, where there is one, has the server speak TLS alone.
	Certificate *Certificate
}

func (c ServerConfig) withDefaults() ServerConfig {
	c.HeaderTimeout = orDefault(c.HeaderTimeout, 5*time.Second)
	c.ReadTimeout = orDefault(c.ReadTimeout, 15*time.Second)
	c.WriteTimeout = orDefault(c.WriteTimeout, 30*time.Second)
	c.IdleTimeout = orDefault(c.IdleTimeout, 60*time.Second)
	return c
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Server serves one service.
type Server struct {
	http   *http.Server
	secure bool
}

// NewServer makes a server for the handler. It speaks HTTP/1.1 alone: one
// request at a time on a connection, so that bounding connections bounds the
// rest.
func NewServer(handler http.Handler, log *slog.Logger, cfg ServerConfig) *Server {
	cfg = cfg.withDefaults()
	closing := make(chan struct{})
	s := &http.Server{
		Handler:           continued(handler, closing),
		ReadHeaderTimeout: cfg.HeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         new(http.Protocols),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// OPTIONS * is the handler's to answer, so that it is counted.
		DisableGeneralOptionsHandler: true,
	}
	s.Protocols.SetHTTP1(true)
	s.RegisterOnShutdown(sync.OnceFunc(func() { close(closing) })) // streams would go on with their clients
	if cfg.Certificate != nil {
		s.TLSConfig = cfg.Certificate.config()
	}
	return &Server{s, cfg.Certificate != nil}
}

func (s *Server) serve(l net.Listener) error {
	if s.secure {
		return s.http.ServeTLS(l, "", "") // the configuration has the certificate
	}
	return s.http.Serve(l)
}

// Serve answers requests until ctx ends or a listener fails, which closes the
// others. Stopping is [Server.Shutdown]'s.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ended := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { ended <- s.serve(l) })
	}
	err := <-ended
	if !errors.Is(err, http.ErrServerClosed) {
		_ = Listeners(listeners).Close() // the first failure is the one to report
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

// ErrCertificate: a certificate and its key cannot be used.
var ErrCertificate = errors.New("certificate")

// Certificate is what a server shows its clients.
type Certificate struct {
	parsed *files.Parsed[chain]
}

// chain is a certificate with those behind it, and when the first of them ends.
type chain struct {
	*tls.Certificate
	expiry time.Time
}

func parseChain(cert, key []byte) (c chain, err error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return c, err //nolint:wrapcheck // the caller names the files
	}
	c.Certificate = &pair
	for _, der := range pair.Certificate {
		if one, err := x509.ParseCertificate(der); err == nil && (c.expiry.IsZero() || one.NotAfter.Before(c.expiry)) {
			c.expiry = one.NotAfter
		}
	}
	return c, nil
}

// OpenCertificate reads a certificate, with those between it and its authority
// behind it, and its key: two PEM files.
func OpenCertificate(certFile, keyFile string) (*Certificate, error) {
	parsed, err := files.Open(func(contents [][]byte) (chain, error) {
		c, err := parseChain(contents[0], contents[1])
		if err != nil {
			return c, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
		}
		return c, nil
	}, certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return &Certificate{parsed}, nil
}

// Run reads the files again when they change, until ctx ends. New connections
// get the new certificate. While the two files do not fit, the old one stays.
func (c *Certificate) Run(ctx context.Context, every time.Duration, log *slog.Logger) error {
	return c.parsed.Run(ctx, every, log)
}

// Failed says whether the files have changed and cannot be used.
func (c *Certificate) Failed() bool { return c.parsed.Failed() }

// Expiry is when the certificate ends to be valid, or the first of those behind it.
func (c *Certificate) Expiry() time.Time { return c.parsed.Get().expiry }

// config is the server's side of TLS: version 1.2 at least, as RFC 9325 requires.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.parsed.Get().Certificate, nil },
	}
}

// streamWrite is how long one event may take to be sent.
const streamWrite = 10 * time.Second

// Stream sends events until ctx ends: with the client, or with the server.
type Stream func(ctx context.Context, send func(Event) error) error

// Event is one server-sent event (WHATWG HTML section 9.2). An empty one keeps the
// connection alive.
type Event struct {
	Name string
	Data string
}

// HandleStream adds a route whose answer is a stream of events, at most so many at
// once; those beyond get 503. A stream counts, is timed and traced by its
// beginning alone: how long somebody looks at a page is nobody's latency.
func (rt *Router) HandleStream(pattern string, most int, stream Stream) {
	slots := make(chan struct{}, most)
	rt.add(pattern, rt.guarded(knownParameters(nil, func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r.Context())
		if v == nil || !v.continues {
			WriteProblem(w, Problem{Type: Fault, Detail: "Nothing can be streamed here."})
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			writeBusy(w)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		v.afterwards = func(ctx context.Context, w http.ResponseWriter) {
			defer func() { <-slots }()
			_ = stream(ctx, func(e Event) error { return writeEvent(w, e) }) // the client is gone, or the server stops
		}
	})))
}

// writeEvent sends an event at once.
func writeEvent(w http.ResponseWriter, e Event) error {
	var text strings.Builder
	if e.Name == "" {
		text.WriteString(":\n")
	} else {
		text.WriteString("event: " + e.Name + "\n")
		for line := range strings.SplitSeq(e.Data, "\n") {
			text.WriteString("data: " + line + "\n")
		}
	}
	text.WriteString("\n")
	control := http.NewResponseController(w)
	// Tests without a connection have no deadline.
	_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := w.Write([]byte(text.String())); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	if err := control.Flush(); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	return nil
}

// visit is what a request's context has of ours, in one piece of memory.
type visit struct {
	context.Context //nolint:containedctx // it is one
	id              string
	continues       bool // what afterwards says is done
	// afterwards is what is left to do for the request once everything around the
	// router has finished with it; nil for nothing.
	afterwards func(context.Context, http.ResponseWriter)
}

type visitKey struct{}

// Value implements [context.Context].
func (v *visit) Value(key any) any {
	if _, ours := key.(visitKey); ours {
		return v
	}
	return v.Context.Value(key)
}

// visitOf is nil where there is none.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// continued lets a handler leave something to do afterwards, which ends with the
// request or when closing is closed.
func continued(next http.Handler, closing <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Context: r.Context(), continues: true}
		next.ServeHTTP(w, r.WithContext(v))
		if v.afterwards == nil {
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-closing:
				cancel()
			case <-ctx.Done():
			}
		}()
		v.afterwards(ctx, w)
	})
}
