package testproc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

const (
	// The ports given lie below those that systems give to outgoing
	// connections, so that an address stays free while its owner is down.
	firstPort = 20_000
	ports     = 10_000
	portTries = 100
)

// ErrNoPort: none of the ports that were tried is free.
var ErrNoPort = errors.New("no free port")

// FreeAddress returns a free loopback address, host:port, for a server that
// has to come back to it after a restart.
func FreeAddress() (string, error) {
	var last error
	for range portTries {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports)) //nolint:gosec // no secret
		l, err := net.Listen("tcp", address)                               //nolint:noctx // loopback, at once
		if err == nil {
			return address, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("%w: %w", ErrNoPort, last)
}
