// Package loopback says which addresses are this machine's own, reached by no other:
// what is open to everybody on it stays closed to everybody else.
//
// loopback.go is all of it.
package loopback

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Is says whether a host, with or without a port, is the loopback interface. A name is
// so only if it is localhost: what others stand for is for a resolver to say, and may
// change.
func Is(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}

// URL says whether a URL leads there.
func URL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && Is(u.Host)
}

// All says whether each of some addresses, host:port with commas between them, is the
// loopback interface. One that is no such address is not.
func All(addresses string) bool {
	for address := range strings.SplitSeq(addresses, ",") {
		if _, _, err := net.SplitHostPort(strings.TrimSpace(address)); err != nil || !Is(strings.TrimSpace(address)) {
			return false
		}
	}
	return true
}
