package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDocumentShowsTheTable(t *testing.T) {
	table, err := os.ReadFile(filepath.Join("testdata", "table.md"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "telemetry.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), "\n"+string(table)) {
		t.Error("docs/telemetry.md does not show the table of testdata/table.md")
	}
}
