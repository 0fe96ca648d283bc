package cli

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// plain is an error's text with what Go's own packages say in it put in words
// for people: a file, an address or a value, and what is the matter with it.
func plain(err error) string {
	text := err.Error()
	for _, one := range inside(err) {
		if words := plainOne(one); words != "" {
			text = strings.Replace(text, one.Error(), words, 1)
		}
	}
	return plainText(text)
}

// plainText puts in words what stands in a text of an error of Go's that somebody
// has made a text of: another program, or a library on its way.
func plainText(text string) string {
	for _, one := range []struct{ pattern, words string }{
		{`(?:read|write|dial) (?:tcp|udp)[46]? (?:\S+->)?(\S+): (?:connect: |read: |write: )?connection refused`, "$1 refuses connections: nothing listens there"},
		{`(?:read|write|dial) (?:tcp|udp)[46]? (?:\S+->)?(\S+): (?:read: |write: )?(?:connection reset by peer|broken pipe)`, "$1 broke the connection off"},
		{`(?:read|write|dial) (?:tcp|udp)[46]? (?:\S+->)?(\S+): (?:connect: )?(?:i/o timeout|connection timed out)`, "$1 does not answer in time"},
		{`(?:read|write|dial) (?:tcp|udp)[46]? (?:\S+->)?(\S+): connect: (?:no route to host|network is unreachable)`, "$1 cannot be reached from here"},
		{`(?:dial (?:tcp|udp)[46]?: )?lookup (\S+?)(?: on \S+)?: no such host`, "there is no host $1"},
		{`context deadline exceeded(?: \(Client\.Timeout exceeded while awaiting headers\))?`, noAnswer},
		{`context canceled`, interrupted},
	} {
		text = regexp.MustCompile(one.pattern).ReplaceAllString(text, one.words)
	}
	return text
}

const (
	noAnswer    = "no answer in time"
	interrupted = "interrupted before it was done"
)

// inside returns the errors that an error is made of, outer ones first.
func inside(err error) []error {
	switch e := err.(type) { //nolint:errorlint // the chain is walked here
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		all := []error{err}
		for _, one := range e.Unwrap() {
			all = append(all, inside(one)...)
		}
		return all
	default:
		return append([]error{err}, inside(errors.Unwrap(err))...)
	}
}

// plainOne is an error of one of Go's packages in words, "" for others.
func plainOne(err error) string {
	switch e := err.(type) { //nolint:errorlint // the chain has been walked
	case *fs.PathError:
		return e.Path + plainFile(e.Err)
	case *os.LinkError:
		return e.New + plainFile(e.Err)
	case *net.DNSError:
		return "there is no host " + e.Name
	case *net.OpError:
		return plainNetwork(e)
	case *strconv.NumError:
		return strconv.Quote(e.Num) + " is not a number that is accepted here"
	case *time.ParseError:
		return strconv.Quote(e.Value) + " is not a time such as 2026-05-01T00:00:00Z"
	}
	return ""
}

func plainFile(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return " does not exist"
	case errors.Is(err, fs.ErrPermission):
		return " cannot be used: its permissions do not allow it"
	case outOfFiles(err):
		return " cannot be opened: this process has as many files open as it may"
	case errors.Is(err, syscall.EISDIR):
		return " is a folder, not a file"
	case errors.Is(err, syscall.ENOTDIR):
		return " cannot be there: a file stands where a folder is wanted"
	default:
		return ": " + err.Error()
	}
}

// outOfFiles says whether a file or a connection could not be opened for want of a
// descriptor.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// plainNetwork is what became of a connection.
func plainNetwork(e *net.OpError) string {
	where := ""
	if e.Addr != nil {
		where = e.Addr.String() + " "
	}
	switch {
	case errors.Is(e, syscall.ECONNREFUSED):
		return where + "refuses connections: nothing listens there"
	case errors.Is(e, syscall.ECONNRESET):
		return where + "broke the connection off"
	case errors.Is(e, syscall.EHOSTUNREACH), errors.Is(e, syscall.ENETUNREACH):
		return where + "cannot be reached from here"
	case e.Timeout():
		return where + "does not answer in time"
	case outOfFiles(e):
		return where + "cannot be reached: this process has as many files open as it may"
	case e.Op == "listen" && errors.Is(e, syscall.EADDRINUSE):
		return where + "is in use by another process"
	default:
		return ""
	}
}
