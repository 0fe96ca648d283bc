//go:build unix

package postgres

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// Shared is one server for all tests of a package: starting it takes a second,
// making a database in it a tenth. It is started when it is first asked for.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Database returns the DATABASE_URL of an empty database of the test's own.
func (s *Shared) Database(t testing.TB) string { t.Helper(); return s.Server(t).Database(t) }

// Server returns the server, which is not the test's to stop.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	Require(t)
	s.once.Do(func() { s.server, s.err = New(context.Background()) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// around is what [Shared.Around]
// gives to goleak.VerifyTestMain.
type around struct {
	shared *Shared
	tests  interface{ Run() int }
}

// Around wraps a package's tests so that the server ends after the last one,
// before goroutines are counted.
func (s *Shared) Around(tests interface{ Run() int }) interface{ Run() int } { return around{s, tests} }

// Run implements goleak.TestingM.
func (a around) Run() int {
	status := a.tests.Run()
	if a.shared.server != nil {
		if err := a.shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return status
}
