package faults

import (
	"context"
	"net"
	"sync"
	"time"
)

// Gate stands between a server and its clients. It is open unless it is told to be
// away, frozen or slow; the server behind it notices nothing.
type Gate struct {
	mu    sync.Mutex
	mode  mode
	until chan struct{} // closed when the mode changes
	conns map[*gated]struct{}
}

// mode is how a gate lets bytes pass.
type mode struct {
	away, frozen bool
	delay        time.Duration // of each answer
}

// NewGate makes an open gate.
func NewGate() *Gate { return &Gate{until: make(chan struct{}), conns: map[*gated]struct{}{}} }

// Before puts the gate before a listener.
func (g *Gate) Before(l net.Listener) net.Listener { return &gatedListener{l, g} }

// hold has the gate be in a mode until ctx ends: a fault's Run. Faults of one gate
// take turns: the later one counts, and opens the gate.
func (g *Gate) hold(m mode) func(context.Context, func()) error {
	return func(ctx context.Context, inForce func()) error {
		g.set(m)
		defer g.set(mode{})
		inForce()
		<-ctx.Done()
		return nil
	}
}

// set changes the mode. Away, it breaks every connection.
func (g *Gate) set(m mode) {
	g.mu.Lock()
	g.mode = m
	close(g.until)
	g.until = make(chan struct{})
	var broken []*gated
	if m.away {
		for c := range g.conns {
			broken = append(broken, c)
		}
	}
	g.mu.Unlock()
	for _, c := range broken {
		_ = c.abort()
	}
}

func (g *Gate) now() (mode, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mode, g.until
}

type gatedListener struct {
	net.Listener
	gate *Gate
}

// Accept implements net.Listener. While the gate is away a connection ends as soon
// as it is made.
func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		passed := &gated{Conn: c, gate: l.gate, closed: make(chan struct{})}
		l.gate.mu.Lock()
		away := l.gate.mode.away
		if !away {
			l.gate.conns[passed] = struct{}{}
		}
		l.gate.mu.Unlock()
		if !away {
			return passed, nil
		}
		_ = passed.abort()
	}
}

// gated is a connection behind the gate, as the server sees it.
type gated struct {
	net.Conn
	gate   *Gate
	closed chan struct{}
	once   sync.Once
}

// Read implements net.Conn. What a client sends to a frozen server waits, as it does
// in the buffers of the system.
func (c *gated) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.thaw()
	return n, err
}

// Write implements net.Conn.
func (c *gated) Write(b []byte) (int, error) {
	if m, _ := c.gate.now(); m.delay > 0 {
		c.pause(m.delay)
	}
	c.thaw()
	return c.Conn.Write(b)
}

// thaw waits while the gate is frozen.
func (c *gated) thaw() {
	for {
		m, changed := c.gate.now()
		if !m.frozen {
			return
		}
		select {
		case <-changed:
		case <-c.closed:
			return
		}
	}
}

func (c *gated) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	_, changed := c.gate.now()
	select {
	case <-timer.C:
	case <-changed:
	case <-c.closed:
	}
}

// abort ends the connection as a process does that dies.
func (c *gated) abort() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.Close()
}

// Close implements net.Conn.
func (c *gated) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.gate.mu.Lock()
		delete(c.gate.conns, c)
		c.gate.mu.Unlock()
	})
	return c.Conn.Close()
}
