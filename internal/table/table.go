// Package table writes rows in columns: for a terminal in its width and with a
// header that stands out, for everything else as plain text that other programs
// cut at runs of spaces.
package table

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
)

// gap is between two columns, in spaces.
const gap = 2

// Table is rows below a header. A row has as many cells as the widest, or fewer; a
// cell is one line of printable text.
type Table struct {
	Header []string // nil for none
	Rows   [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Plain is the table without colours, however wide that is.
func (t Table) Plain() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, gap, ' ', 0)
	if t.Header != nil {
		fmt.Fprintln(w, strings.Join(t.Header, "\t"))
	}
	for _, row := range t.Rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // into memory
	return b.String()
}

// Fit is the table for a terminal of that many columns: the header in bold, and
// cells cut, of the widest columns first, so that no row takes a second line.
func (t Table) Fit(width int) string {
	last := len(t.Header)
	for _, row := range t.Rows {
		last = max(last, len(row))
	}
	last--
	cell, lastCell := lipgloss.NewStyle().PaddingRight(gap), lipgloss.NewStyle()
	styled := table.New().Headers(t.Header...).Rows(t.Rows...).Wrap(false).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderColumn(false).BorderHeader(false).
		StyleFunc(func(row, column int) lipgloss.Style {
			style := cell
			if column == last {
				style = lastCell
			}
			return style.Bold(row == table.HeaderRow)
		})
	text := styled.String()
	if lipgloss.Width(text) > width {
		text = styled.Width(width).String()
	}
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
