//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// errMissing: this machine lacks what a server needs; the text says what.
var errMissing = errors.New("real PostgreSQL cannot run here")

// installation is where the programs are and whom they run as.
type installation struct {
	bin        string
	credential *syscall.Credential // nil: the test's own user
}

// Require skips a test where there is no PostgreSQL, or fails it in continuous
// integration.
func Require(t testing.TB) {
	t.Helper()
	_, err := find()
	if errors.Is(err, errMissing) {
		testproc.Missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// find looks for a server where Debian and its kin put theirs, newest first,
// and then in the PATH.
func find() (installation, error) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is valid
	slices.SortFunc(folders, func(a, b string) int { return release(b) - release(a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	for _, bin := range folders {
		if _, err := os.Stat(filepath.Join(bin, "initdb")); err == nil {
			credential, err := whom()
			return installation{bin: bin, credential: credential}, err
		}
	}
	return installation{}, fmt.Errorf("%w: no postgres in /usr/lib/postgresql/*/bin or the PATH (Debian's package is postgresql)", errMissing)
}

// release is the major release in a folder's name, /usr/lib/postgresql/17/bin.
func release(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin))) // 0 for what is no number
	return n
}

// whom returns an unprivileged user where the test runs as root, as whom the
// server refuses to run.
func whom() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no credential is needed
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, badUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, badGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(badUID, badGID); err != nil {
			return nil, fmt.Errorf("read user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w: it does not run as root, and there is no user postgres or nobody", errMissing)
}
