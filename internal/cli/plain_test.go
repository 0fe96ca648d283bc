package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestGoErrorsAreSaidInPlainWords(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, opened := os.Open(missing)
	_, read := os.ReadFile(t.TempDir())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_, inUse := net.Listen("tcp", address)
	_ = listener.Close()
	_, refused := net.Dial("tcp", address)
	_, number := strconv.Atoi("many")
	_, at := time.Parse(time.RFC3339, "noon")
	for want, err := range map[string]error{
		"read tokens: " + missing + " does not exist":                     fmt.Errorf("read tokens: %w", opened),
		address + " refuses connections: nothing listens there":           refused,
		address + " is in use by another process":                         inUse,
		`"many" is not a number that is accepted here`:                    number,
		`a: "noon" is not a time such as 2026-05-01T00:00:00Z`:            fmt.Errorf("a: %w", at),
		"one: no answer in time\ntwo: " + missing + " does not exist":     errors.Join(fmt.Errorf("one: %w", context.DeadlineExceeded), fmt.Errorf("two: %w", opened)),
		"there is no host nowhere":                                        &net.DNSError{Name: "nowhere", Err: "no such host", IsNotFound: true},
		"what we say ourselves stays":                                     errors.New("what we say ourselves stays"),
		read.(*os.PathError).Path + " is a folder, not a file":            read, //nolint:errorlint // it is one
		"dial: the address is wrong, and so it stays: address x: no port": fmt.Errorf("dial: the address is wrong, and so it stays: %w", &net.AddrError{Err: "no port", Addr: "x"}),
	} {
		if got := plain(err); got != want {
			t.Errorf("plain(%q) = %q, want %q", err, got, want)
		}
	}
}
