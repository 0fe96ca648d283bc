// Package repo finds the repository's files for tests, whatever folder these
// stand in. Only tests use it.
package repo

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Path returns the absolute path of a file or folder of the repository, given
// from its top: Path(t, "docs", "metrics.md"). It need not be there.
func Path(t testing.TB, elements ...string) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for from := folder; ; folder = filepath.Dir(folder) {
		text, _ := os.ReadFile(filepath.Join(folder, "go.mod")) //nolint:gosec // above the test; none is not here
		if bytes.HasPrefix(text, []byte("module github.com/vigie-dev/vigie\n")) {
			return filepath.Join(append([]string{folder}, elements...)...)
		}
		if folder == filepath.Dir(folder) {
			t.Fatalf("%s is not in the repository", from)
		}
	}
}

// Read returns the text of a file of the repository, given from its top with
// slashes.
func Read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(Path(t, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
