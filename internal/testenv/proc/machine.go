// Package proc gives tests what they need of the machine: programs that run as
// child processes and can be killed, frozen and waited for, so that crashes are
// real ones; free ports; and servers that are fetched or built once. Only tests
// use it.
//
//   - machine.go says what this machine has for tests, and finds free ports;
//     integration_on.go and integration_off.go whether the tag integration is set.
//   - cache.go keeps what takes minutes to make, such as servers from registries.
//   - process.go starts and ends processes, with the attributes that the system
//     has for them (attributes_linux.go, attributes_other.go).
//   - output.go waits for what a process writes.
package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
)

// ErrMissing: this machine lacks what a test needs; the text says what.
var ErrMissing = errors.New("this machine lacks what the test needs")

// Check ends the test on an error. An [ErrMissing] skips it, with the reason,
// except in continuous integration (CI is set), where nothing may go untested.
func Check(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrMissing) && !continuous():
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// continuous says whether this is continuous integration.
func continuous() bool {
	switch os.Getenv("CI") {
	case "", "0", "false":
		return false
	default:
		return true
	}
}

const (
	// The ports given lie below those that systems give to outgoing
	// connections, so that an address stays free while its owner is down.
	firstPort = 10_000
	ports     = 20_000
	portTries = 100
)

// ErrNoPort: none of the ports that were tried is free.
var ErrNoPort = errors.New("no free port")

// FreeAddress returns an address on loopback, host:port, with a free port, for
// a server that cannot report which port it was given, or has to come back to it
// after a restart.
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
	var open []net.Listener // until all are found
	defer func() {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := listen()
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// Address is [FreeAddress] for a test, which it ends on an error.
func Address(t testing.TB) string {
	t.Helper()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
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
