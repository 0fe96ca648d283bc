package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/storage"
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
		"read tokens: " + missing + " does not exist":                       fmt.Errorf("read tokens: %w", opened),
		address + " refuses connections: nothing listens there":             refused,
		address + " is in use by another process":                           inUse,
		`"many" is not a number that is accepted here`:                      number,
		`a: "noon" is not a time such as 2026-05-01T00:00:00Z`:              fmt.Errorf("a: %w", at),
		"one: no answer in time\ntwo: " + missing + " does not exist":       errors.Join(fmt.Errorf("one: %w", context.DeadlineExceeded), fmt.Errorf("two: %w", opened)),
		"there is no host nowhere":                                          &net.DNSError{Name: "nowhere", Err: "no such host", IsNotFound: true},
		"read: " + interrupted:                                              fmt.Errorf("read: %w", context.Canceled),
		"a target: k:1 refuses connections: nothing listens there":          errors.New("a target: dial tcp k:1: connect: connection refused"),
		"k:1 broke the connection off":                                      errors.New("read tcp 127.0.0.1:5->k:1: read: connection reset by peer"),
		"k:1 does not answer in time":                                       errors.New("dial tcp k:1: i/o timeout"),
		"there is no host k":                                                errors.New("dial tcp: lookup k on 127.0.0.1:53: no such host"),
		"it takes long: no answer in time":                                  errors.New("it takes long: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
		"a cannot be opened: this process has as many files open as it may": &os.PathError{Op: "open", Path: "a", Err: syscall.EMFILE},
		"what we say ourselves stays":                                       errors.New("what we say ourselves stays"),
		read.(*os.PathError).Path + " is a folder, not a file":              read, //nolint:errorlint // it is one
		"dial: the address is wrong, and so it stays: address x: no port":   fmt.Errorf("dial: the address is wrong, and so it stays: %w", &net.AddrError{Err: "no port", Addr: "x"}),
	} {
		if got := plain(err); got != want {
			t.Errorf("plain(%q) = %q, want %q", err, got, want)
		}
	}
}

// What a full disk or too few descriptors stop is not put down to the disk, or to
// the folder's permissions.
func TestHintsNameWhatRanOut(t *testing.T) {
	for want, err := range map[string]error{
		"ulimit -n":     fmt.Errorf("%w: %w", embedded.ErrDisk, &os.PathError{Op: "open", Path: "a", Err: syscall.EMFILE}),
		"files a proce": fmt.Errorf("%w: %w", storage.ErrNotWritable, &os.PathError{Op: "open", Path: "a", Err: syscall.ENFILE}),
		"make room":     fmt.Errorf("%w: %w", embedded.ErrDisk, &os.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}),
		"disk is well":  fmt.Errorf("%w: %w", embedded.ErrDisk, &os.PathError{Op: "sync", Path: "a", Err: syscall.EIO}),
	} {
		if got := hint(err); !strings.Contains(got, want) {
			t.Errorf("the hint for %v is %q, want %q", err, got, want)
		}
	}
}
