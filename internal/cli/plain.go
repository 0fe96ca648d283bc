package cli

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
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
	return text
}

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
	if err == context.DeadlineExceeded { //nolint:errorlint // the chain has been walked
		return "no answer in time"
	}
	return ""
}

func plainFile(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return " does not exist"
	case errors.Is(err, fs.ErrPermission):
		return " cannot be used: its permissions do not allow it"
	case errors.Is(err, syscall.EISDIR):
		return " is a folder, not a file"
	case errors.Is(err, syscall.ENOTDIR):
		return " cannot be there: a file stands where a folder is wanted"
	default:
		return ": " + err.Error()
	}
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
	case e.Op == "listen" && errors.Is(e, syscall.EADDRINUSE):
		return where + "is in use by another process"
	default:
		return ""
	}
}
