package storage

import (
	"os"
	"syscall"
	"testing"
)

// Another program may work on a service's database beside it. When it is closed, SQLite
// removes the log, and what was committed there, unless somebody else has the database open,
// which it sees by a lock: looking at the files must not give that up.
func TestLookingKeepsTheLocksOfTheDatabase(t *testing.T) {
	s, _, path := openFile(t)
	if err := s.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()                                          // gives the locks up, as would a look
	const asAnother = 36                                                         // F_OFD_GETLK: for locks of this process too
	shared := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 1<<30 + 2, Len: 510} // as in SQLite's os.h
	if err := syscall.FcntlFlock(file.Fd(), asAnother, &shared); err != nil {
		t.Skipf("this system cannot say who has a lock: %v", err)
	}
	if shared.Type != syscall.F_RDLCK {
		t.Errorf("nobody has the database open, by its locks: %+v", shared)
	}
}
