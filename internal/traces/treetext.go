package traces

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Widths of a printed tree, in columns.
const (
	lineWidth   = 110
	maxService  = 16
	maxDetail   = 34
	maxError    = 22
	minTitle    = 24
	maxBar      = 24
	minBar      = 8
	timeWidth   = 8
	gap         = "  "
	shownTraces = 2
)

// text is the tree, a line for each span, limit of them at most; 0 is all.
func (t Tree) text(limit int) string {
	shown := t.Lines
	if limit > 0 && limit < len(shown) {
		shown = shown[:limit]
	}
	w := widths(shown)
	var b strings.Builder
	for _, l := range shown {
		row := padRight(shortened(l.Service, w.service), w.service) + gap + padRight(shortened(l.guide+l.title(), w.title), w.title) + gap +
			padLeft(period(l.After), timeWidth) + gap + bar(l.After, l.Duration, t.Duration, w.bar) + gap +
			padLeft(period(l.Duration), timeWidth) + gap + l.detail()
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	if more := len(t.Lines) - len(shown); more > 0 {
		fmt.Fprintf(&b, "and %s more; --limit shows more of them\n", plural(more, "span"))
	}
	b.WriteString(t.notes())
	return b.String()
}

type columns struct{ service, title, bar int }

// widths divides the line: what service, name and details leave is the bar's;
// a name is cut only where the shortest bar leaves it no room.
func widths(lines []Line) columns {
	w, detail := columns{}, 0
	for _, l := range lines {
		w.service = max(w.service, min(utf8.RuneCountInString(l.Service), maxService))
		w.title = max(w.title, utf8.RuneCountInString(l.guide+l.title()))
		detail = max(detail, utf8.RuneCountInString(l.detail()))
	}
	const between = 2*timeWidth + 5*len(gap)
	rest := lineWidth - between - w.service - detail
	w.title = max(min(w.title, rest-minBar), minTitle)
	w.bar = min(max(rest-w.title, minBar), maxBar)
	return w
}

// detail is what there is to say about a span beside its times.
func (l Line) detail() string {
	var parts []string
	add := func(text, format string) {
		if text != "" {
			parts = append(parts, fmt.Sprintf(format, text))
		}
	}
	add(l.HTTPStatus, "%s")
	if l.Failed {
		add(shortened(cmp.Or(l.Error, "failed"), maxError), "✗ %s")
	}
	if !strings.HasSuffix(l.title(), l.place()) {
		add(l.place(), "%s")
	}
	add(l.Attempts, "tries %s")
	add(l.Records, "batch of %s")
	if l.Batch != "1" { // which is no batch to a reader
		add(l.Batch, "batch of %s")
	}
	if n := len(l.Links); n > 0 && l.Batch == "" {
		parts = append(parts, plural(n, "link"))
	}
	switch l.Detached {
	case DetachedMissing:
		parts = append(parts, "parent missing")
	case DetachedCircle:
		parts = append(parts, "parents in a circle")
	}
	return shortened(strings.Join(parts, ", "), maxDetail)
}

// notes are lines below the tree: what is missing, and where links lead.
func (t Tree) notes() string {
	var b strings.Builder
	missing := 0
	var linked []string
	for _, l := range t.Lines {
		if l.Detached == DetachedMissing {
			missing++
		}
		for _, link := range l.Links {
			if l.Batch == "" && link.TraceID != t.TraceID && !slices.Contains(linked, link.TraceID) && len(linked) <= shownTraces {
				linked = append(linked, link.TraceID)
			}
		}
	}
	if missing > 0 {
		fmt.Fprintf(&b, "\n%s without a parent here: it was not kept, or is still on its way\n", plural(missing, "span"))
	}
	if len(linked) > 0 {
		more := ""
		if len(linked) > shownTraces {
			linked, more = linked[:shownTraces], " …"
		}
		fmt.Fprintf(&b, "\nlinked traces: %s%s\n", strings.Join(linked, " "), more)
	}
	return b.String()
}

func padRight(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
