package table_test

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/vigie-dev/vigie/internal/table"
)

func example() table.Table {
	t := table.Table{Header: []string{"ID", "ORDER", "WHY"}}
	t.Add("orders.dlq/1/42", "order-1", strings.Repeat("long ", 20)+"end")
	t.Add("orders.dlq/1/7", "日本", "short")
	return t
}

func TestPlainIsForPrograms(t *testing.T) {
	got := example().Plain()
	want := "ID               ORDER    WHY\norders.dlq/1/42  order-1  " + strings.Repeat("long ", 20) + "end\norders.dlq/1/7   日本       short\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// On a terminal no row is wider than it is, and what is narrow stays whole.
func TestRowsFitATerminal(t *testing.T) {
	for _, width := range []int{30, 60, 200} {
		lines := strings.Split(strings.TrimSuffix(example().Fit(width), "\n"), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "\x1b[1m") || strings.Contains(lines[1], "\x1b") {
			t.Fatalf("at %d columns %q", width, lines)
		}
		for _, line := range lines {
			if ansi.StringWidth(line) > width {
				t.Errorf("at %d columns a line has %d: %q", width, ansi.StringWidth(line), line)
			}
		}
		if cut := strings.Contains(lines[1], "…"); cut != (width < 130) {
			t.Errorf("at %d columns a cell is cut: %v", width, cut)
		}
		if width >= 60 && !strings.Contains(lines[1], "orders.dlq/1/42  order-1  long") {
			t.Errorf("at %d columns the narrow cells are cut: %q", width, lines[1])
		}
	}
}
