package proc

import (
	"os"
	"testing"
)

// Missing ends a test that needs what this machine does not have: it is
// skipped with the reason, except in continuous integration (CI is set), where
// nothing may go untested and it fails.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	switch os.Getenv("CI") {
	case "", "0", "false":
		t.Skipf(format, args...)
	default:
		t.Fatalf(format, args...)
	}
}
