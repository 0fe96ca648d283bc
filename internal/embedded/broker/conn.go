package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// patience is how long a connection that its client has closed is kept for the
	// sake of an unanswered request. A rebalance, the longest that a request waits
	// for, ends sooner.
	patience = 2 * time.Minute
	// acceptAgain is how long to wait where a connection could not be had.
	acceptAgain = 100 * time.Millisecond
	// maxRequest is Kafka's default for socket.request.max.bytes.
	maxRequest = 100 << 20
	// maxPending is more requests than kfake takes of a connection before it has
	// answered the first of them.
	maxPending = 8
)

// errRequest: what came over a connection is no request of Kafka's protocol.
var errRequest = errors.New("not a request of Kafka's protocol")

// edge stands between kfake and its clients. It knows which requests are answered.
type edge struct {
	net.Listener
	disk     *disk
	log      *slog.Logger
	loggedAt time.Time // when the log last said that connections cannot be accepted
	// writing is how many requests that may write are without their answer, over
	// all connections.
	writing atomic.Int64
}

// Accept implements net.Listener. kfake accepts no more after an error, so one
// that passes, as where the process has no file descriptors left, is waited out.
func (l *edge) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			return &conn{Conn: c, edge: l, answered: make(chan struct{}, 1), closed: make(chan struct{})}, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if now := time.Now(); l.loggedAt.IsZero() || now.Sub(l.loggedAt) >= time.Minute {
			l.log.Error("connections to the embedded broker cannot be accepted", "error", err)
			l.loggedAt = now
		}
		<-time.After(acceptAgain) // a closed listener says so at the next try
	}
}

// conn is a connection of a client. It keeps two promises that kfake does not.
//
// No answer leaves before all that was written is on disk: neither does a producer
// learn that a record is stored nor a consumer see one that a power cut can take.
//
// kfake learns of a connection's end once every request that came over it has its
// answer. It watches a group member's session from the moment that it has answered
// its JoinGroup or SyncGroup; where the connection has ended by then it never
// begins to, and a process that dies while it waits to join, as in a crash loop,
// would stay a member for good and keep partitions that nobody reads.
type conn struct {
	net.Conn
	edge     *edge
	answered chan struct{} // has one while a Write is news
	closed   chan struct{}
	once     sync.Once

	mu      sync.Mutex
	frame   frame
	pending []request // in the order in which they came, which is that of answers
}

// request is one that was read in full and is not answered.
type request struct {
	id     int32 // the correlation id, which the answer repeats
	writes bool
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	frameErr := c.frame.pass(b[:n], c.take)
	c.mu.Unlock()
	if frameErr != nil {
		return 0, errors.Join(frameErr, c.Close())
	}
	if err != nil {
		c.linger()
	}
	return n, err
}

// take notes a request, before kfake has its last byte. A producer that asks for
// no answer gets none: kfake has handled such a request once it reads on.
func (c *conn) take(r request) {
	if r.writes {
		c.edge.writing.Add(1)
	}
	c.pending = append(c.pending, r)
	if len(c.pending) > maxPending {
		c.drop(1)
	}
}

// drop forgets the first pending requests.
func (c *conn) drop(n int) {
	for _, r := range c.pending[:n] {
		if r.writes {
			c.edge.writing.Add(-1)
		}
	}
	c.pending = c.pending[n:]
}

// Write implements net.Conn. kfake writes every answer in one go.
func (c *conn) Write(b []byte) (int, error) {
	if c.edge.writing.Load() > 0 {
		if err := c.edge.disk.flush(); err != nil {
			return 0, errors.Join(err, c.Close())
		}
	}
	c.mu.Lock()
	c.drop(c.answeredBy(b))
	c.mu.Unlock()
	select {
	case c.answered <- struct{}{}:
	default:
	}
	return c.Conn.Write(b)
}

// answeredBy is how many pending requests an answer leaves behind: its own, and
// those before it, which get none.
func (c *conn) answeredBy(b []byte) int {
	if len(b) >= 8 {
		id := int32(binary.BigEndian.Uint32(b[4:])) //nolint:gosec // as written
		for i, r := range c.pending {
			if r.id == id {
				return i + 1
			}
		}
	}
	return 0
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.mu.Lock()
		c.drop(len(c.pending))
		c.mu.Unlock()
	})
	return c.Conn.Close()
}

// linger waits until every request has its answer, or the broker closes the
// connection.
func (c *conn) linger() {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		c.mu.Lock()
		pending := len(c.pending)
		c.mu.Unlock()
		if pending == 0 {
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

// frame follows a stream of requests: a length before each, and a header that
// starts with its kind, version and correlation id.
type frame struct {
	head []byte // of the request that is under way: length and header, as far as seen
	left int64  // bytes of it to come, once the length is known
}

// frameHead is the length of what a frame keeps of a request.
const frameHead = 4 + 2 + 2 + 4

// pass takes the next bytes of the stream. It reports each request that they
// complete, and stops at what is none: kfake makes room for any length, and panics
// on a kind that it does not know.
func (f *frame) pass(b []byte, complete func(request)) error {
	for len(b) > 0 {
		if n := min(frameHead-len(f.head), len(b)); len(f.head) < 4 {
			n = min(n, 4-len(f.head))
			f.head, b = append(f.head, b[:n]...), b[n:]
			if len(f.head) == 4 {
				f.left = int64(binary.BigEndian.Uint32(f.head))
				if f.left < frameHead-4 || f.left > maxRequest {
					return fmt.Errorf("%w: its length is %d", errRequest, f.left)
				}
			}
			continue
		}
		n := min(f.left, int64(len(b)))
		if missing := frameHead - len(f.head); missing > 0 {
			f.head = append(f.head, b[:min(n, int64(missing))]...)
			if err := f.known(); err != nil {
				return err
			}
		}
		b = b[n:]
		if f.left -= n; f.left == 0 {
			key := int16(binary.BigEndian.Uint16(f.head[4:]))                                               //nolint:gosec // as written
			complete(request{id: int32(binary.BigEndian.Uint32(f.head[8:])), writes: kind(key).mayWrite()}) //nolint:gosec // as written
			f.head = f.head[:0]
		}
	}
	return nil
}

// known says whether kfake knows requests of this kind.
func (f *frame) known() error {
	if len(f.head) < 6 {
		return nil
	}
	if key := int16(binary.BigEndian.Uint16(f.head[4:])); kmsg.RequestForKey(key) == nil { //nolint:gosec // as written
		return fmt.Errorf("%w: its kind is %d", errRequest, key)
	}
	return nil
}

// kind is the kind of a request.
type kind int16

// mayWrite says whether something may have to be on disk before the answer.
func (k kind) mayWrite() bool {
	switch kmsg.Key(k) {
	case kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.Heartbeat, kmsg.ApiVersions,
		kmsg.DescribeGroups, kmsg.ListGroups, kmsg.DescribeConfigs, kmsg.DescribeCluster, kmsg.OffsetForLeaderEpoch:
		return false
	default:
		return true
	}
}
