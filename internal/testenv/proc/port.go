package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

const (
	// The ports given lie below those that systems give to outgoing
	// connections, so that an address stays free while its owner is down.
	firstPort = 10_000
	ports     = 20_000
	portTries = 100
)

// ErrNoPort: none of the ports that were tried is free.
var ErrNoPort = errors.New("no free port")

// FreeAddress returns an address on loopback with a free port, for a server that
// has to come back to it after a restart.
func FreeAddress() (string, error) {
	all, err := FreeAddresses(1)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

// FreeAddresses is [FreeAddress] for several servers that start together: no
// two addresses are the same, which they may be when asked for one by one.
func FreeAddresses(n int) (all []string, err error) {
	var held []net.Listener // until all are found
	defer func() {
		for _, l := range held {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := listen()
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		all = append(all, l.Addr().String())
	}
	return all, nil
}

func listen() (net.Listener, error) {
	var last error
	for range portTries {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports)) //nolint:gosec // no secret
		l, err := net.Listen("tcp", address)                               //nolint:noctx // loopback, at once
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, fmt.Errorf("%w: %w", ErrNoPort, last)
}
