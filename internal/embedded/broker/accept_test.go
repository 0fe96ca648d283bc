package broker

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// without is a listener that is out of descriptors for a while, and then closed.
type without struct {
	net.Listener
	failures int
}

func (l *without) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	if l.failures == -1 {
		c, _ := net.Pipe()
		return c, nil
	}
	return nil, net.ErrClosed
}

// A broker that cannot accept for a while, as without descriptors, accepts
// afterwards, and says so once a minute.
func TestConnectionsAreAcceptedOnceTheyCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		l := &edge{Listener: &without{failures: 700}, log: slog.New(slog.NewTextHandler(&text, nil))} // for 70 s
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener: %v", err)
		}
		if lines := strings.Count(text.String(), "too many open files"); lines != 2 {
			t.Errorf("%d lines: %s", lines, text.String())
		}
	})
}
