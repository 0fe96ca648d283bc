package broker

import (
	"net"
	"sync"
	"time"
)

// patience is how long a connection that its client has closed is kept for the
// sake of an unanswered request. A rebalance, the longest that a request waits
// for, ends sooner.
const patience = 2 * time.Minute

// patientListener keeps kfake from learning too early that a client is gone.
//
// kfake watches a group member's session from the moment that it has answered
// its JoinGroup or SyncGroup; where the connection has ended by then it never
// begins to. A process that dies while it waits to join, as in a crash loop,
// would thus stay a member for good and keep partitions that nobody reads.
// Kafka watches such a member all the same. So kfake learns of a connection's
// end once every request that came over it has its response.
type patientListener struct{ net.Listener }

// Accept implements net.Listener.
func (l patientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: c, answered: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

// patientConn delays the error that ends reading while a request is without
// its answer. It knows requests by Kafka's framing, a length before each, and
// that kfake writes every answer in one go.
type patientConn struct {
	net.Conn
	answered chan struct{} // has one while a Write is news
	closed   chan struct{}
	once     sync.Once

	mu      sync.Mutex
	frame   frame
	pending int // requests read in full, less answers
}

// Read implements net.Conn.
func (c *patientConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.pending += c.frame.pass(b[:n])
	c.mu.Unlock()
	if err != nil {
		c.linger()
	}
	return n, err
}

// Write implements net.Conn.
func (c *patientConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.pending--
	c.mu.Unlock()
	select {
	case c.answered <- struct{}{}:
	default:
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *patientConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// linger waits until every request has its answer, or the broker closes the
// connection.
func (c *patientConn) linger() {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		c.mu.Lock()
		pending := c.pending
		c.mu.Unlock()
		if pending <= 0 {
			return
		}
		select {
		case <-c.answered:
		case <-c.closed:
			return
		case <-timer.C:
			return
		}
	}
}

// frame follows a stream of length-prefixed messages.
type frame struct {
	header int   // bytes of the length seen, 0 to 4
	length int64 // the length so far
	left   int64 // bytes of the message to come
}

// pass takes the next bytes of the stream and returns how many messages they
// complete.
func (f *frame) pass(b []byte) (complete int) {
	for len(b) > 0 {
		if f.left == 0 {
			f.length = f.length<<8 | int64(b[0])
			b = b[1:]
			if f.header++; f.header == 4 {
				f.header, f.left, f.length = 0, f.length, 0
			}
			continue
		}
		n := min(f.left, int64(len(b)))
		b = b[n:]
		if f.left -= n; f.left == 0 {
			complete++
		}
	}
	return complete
}
