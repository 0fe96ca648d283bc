package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMaxConnections is how many connections an address takes at once.
const DefaultMaxConnections = 2048

const (
	// lingerTime bounds how long a connection is read from after its last
	// answer, which is as long as a body may take.
	lingerTime = defaultBodyTimeout
	// lingerBytes bounds, in bytes, what is read of it then.
	lingerBytes = 32 << 20
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

// Limit has each address take so many connections at once; those beyond wait in
// the kernel's queue until another ends. A client that still sends when its
// connection is closed gets its answer all the same. failed is called for each
// connection that the system did not hand over; the server tries again.
func (all Listeners) Limit(connections int, failed func(error)) Listeners {
	limited := make(Listeners, len(all))
	for i, l := range all {
		open, end := context.WithCancel(context.Background())
		limited[i] = &listener{Listener: l, failed: failed, slots: make(chan struct{}, connections), open: open, end: end}
	}
	return limited
}

// Failures returns a function for [Listeners.Limit] that calls count for each
// failure, and logs the first and, while they go on, one a minute: a process
// that has run out of file descriptors fails many times a second.
func Failures(log *slog.Logger, count func()) func(error) {
	var mu sync.Mutex
	var loggedAt time.Time
	unlogged := 0
	return func(err error) {
		count()
		mu.Lock()
		defer mu.Unlock()
		unlogged++
		if now := time.Now(); loggedAt.IsZero() || now.Sub(loggedAt) >= time.Minute {
			log.Error("connections cannot be accepted", "error", err, "failures", unlogged)
			loggedAt, unlogged = now, 0
		}
	}
}

// Close closes all of them.
func (all Listeners) Close() error {
	var errs []error
	for _, l := range all {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// listener bounds the connections of one address.
type listener struct {
	net.Listener
	failed func(error)
	slots  chan struct{}
	open   context.Context // until the listener is closed
	end    context.CancelFunc
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.open.Done():
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		if !errors.Is(err, net.ErrClosed) {
			l.failed(err)
		}
		return nil, err // as it is: the server asks it whether to try again
	}
	return &conn{Conn: c, of: l}, nil
}

// Close implements [net.Listener]. From then on no connection lingers.
func (l *listener) Close() error {
	l.end()
	return l.Listener.Close()
}

// conn is a connection that does not cut its client off. A client that still
// sends when the connection is closed gets a reset for it, and loses an answer
// that it has not read yet, such as why its body is refused. So a connection
// whose last word was an answer lingers: it says that nothing more comes, and
// takes and drops what the client still sends, until the client closes too or
// a bound is reached (RFC 9112 section 9.6). Whoever has read a request to its
// end waits for the next one, so its connection does not linger.
type conn struct {
	net.Conn
	of       *listener
	answered atomic.Bool // what was done last was to write
	linger   sync.Once
	closed   sync.Once
}

// Read implements [net.Conn].
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.answered.Store(false)
	return n, err
}

// Write implements [net.Conn].
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.answered.Store(err == nil)
	return n, err
}

// CloseWrite lingers. The server calls it where it has not read a body to its
// end, before it closes the connection.
func (c *conn) CloseWrite() error {
	c.linger.Do(c.drain)
	return nil
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	if c.answered.Load() {
		c.linger.Do(c.drain)
	}
	err := c.Conn.Close()
	c.closed.Do(func() { <-c.of.slots })
	return err
}

func (c *conn) drain() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	hurry := context.AfterFunc(c.of.open, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer hurry()
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // whatever ends it, the connection is closed next
}
