//go:build unix

package servers

import (
	"errors"
	"os"
	"testing"
)

// Require returns the path of a program. Where it cannot be had the test is
// skipped with the reason, or fails in continuous integration (CI is set),
// where nothing may go untested.
func Require(t testing.TB, program string) string {
	t.Helper()
	path, err := Binary(t.Context(), program)
	check(t, err)
	return path
}

func check(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errMissing) && !continuous():
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
