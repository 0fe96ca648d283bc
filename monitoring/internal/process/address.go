package process

import (
	"fmt"
	"math/rand/v2"
	"net"
)

const (
	// Below the ports that systems give to outgoing connections, so that an
	// address stays free until its server binds it.
	firstPort = 20_000
	ports     = 10_000
	portTries = 100
)

// FreeAddress returns a free loopback address, host:port, for a server that
// cannot tell which port it was given.
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
	return "", fmt.Errorf("find a free port: %w", last)
}
