package traces

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Why a span stands at the top of a tree though it has a parent.
const (
	// DetachedMissing: the parent is not in the trace.
	DetachedMissing = "missing"
	// DetachedCircle: its ancestors go round in a circle.
	DetachedCircle = "circle"
)

// Tree is a trace as a tree, each span once.
type Tree struct {
	TraceID string
	// Start is when the first span starts. Clocks of several machines may
	// disagree, so it need not be the root's.
	Start time.Time
	// Duration is from there to the last end.
	Duration time.Duration
	Services int
	// Lines are the spans, each before its children, siblings by their start.
	Lines []Line
}

// Line is one span in a [Tree].
type Line struct {
	Span
	// Depth is how many ancestors stand above it in the tree.
	Depth int
	// After is how long after the tree's start it starts, never negative.
	After time.Duration
	// Detached is "" or one of the Detached constants.
	Detached string
	guide    string
}

// NewTree builds the tree, whatever the spans say about their parents. Of spans
// with the same id it takes the first.
func NewTree(t Trace) Tree {
	spans := once(t.Spans)
	if len(spans) == 0 {
		return Tree{}
	}
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	tree := Tree{TraceID: t.ID, Start: spans[0].Start, Lines: make([]Line, 0, len(spans))}
	services := map[string]struct{}{}
	for _, s := range spans {
		tree.Duration = max(tree.Duration, s.Start.Add(s.Duration).Sub(tree.Start))
		services[s.Service] = struct{}{}
	}
	tree.Services = len(services)
	for _, p := range arrange(parents(spans), nil) {
		s := spans[p.node]
		line := Line{Span: s, Depth: p.depth, After: s.Start.Sub(tree.Start), guide: p.guide}
		switch {
		case p.circle:
			line.Detached = DetachedCircle
		case p.depth == 0 && s.Parent != "":
			line.Detached = DetachedMissing
		}
		tree.Lines = append(tree.Lines, line)
	}
	return tree
}

func once(spans []Span) []Span {
	seen := make(map[string]struct{}, len(spans))
	out := make([]Span, 0, len(spans))
	for _, s := range spans {
		if _, twice := seen[s.ID]; !twice {
			seen[s.ID] = struct{}{}
			out = append(out, s)
		}
	}
	return out
}

// parents returns where each span's parent stands, or none.
func parents(spans []Span) []int {
	places := make(map[string]int, len(spans))
	for i, s := range spans {
		places[s.ID] = i
	}
	out := make([]int, len(spans))
	for i, s := range spans {
		out[i] = none
		if at, ok := places[s.Parent]; ok {
			out[i] = at
		}
	}
	return out
}

// none is the parent of a node that has none.
const none = -1

// maxGuides is how many levels are indented; deeper ones stand below each other.
const maxGuides = 12

// arranged is a node's place in a tree that is printed.
type arranged struct {
	node, depth int
	guide       string // what stands before the node's text
	circle      bool   // the node is at the top for want of a way from a root
}

// arrange orders nodes so that each stands before its children, and siblings
// by their index. parent holds each node's parent or none; a circle is broken
// at the node of its smallest index. It uses no recursion: how deep a tree goes
// is up to the sender. Hidden nodes are left out; they have no children.
func arrange(parent []int, hidden map[int]bool) []arranged {
	a := arrangement{
		children: make([][]int, len(parent)), seen: make([]bool, len(parent)), out: make([]arranged, 0, len(parent)),
	}
	for node, p := range parent {
		a.seen[node] = hidden[node]
		if p != none && !hidden[node] {
			a.children[p] = append(a.children[p], node)
		}
	}
	for node, p := range parent {
		if p == none && !hidden[node] {
			a.from(arranged{node: node})
		}
	}
	for node := range parent {
		if !a.seen[node] {
			a.from(arranged{node: node, circle: true})
		}
	}
	return a.out
}

type arrangement struct {
	children [][]int
	seen     []bool
	out      []arranged
}

// visit is a node that waits, and what its children's guides begin with.
type visit struct {
	arranged
	prefix string
}

func (a *arrangement) from(root arranged) {
	for stack := []visit{{arranged: root}}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		a.seen[at.node] = true
		a.out = append(a.out, at.arranged)
		children := slices.DeleteFunc(a.children[at.node], func(child int) bool { return a.seen[child] })
		for n, child := range slices.Backward(children) { // the first is to be on top
			stack = append(stack, below(at, child, n == len(children)-1))
		}
	}
}

// below is the visit of a node's child.
func below(parent visit, child int, last bool) visit {
	v := visit{arranged: arranged{node: child, depth: parent.depth + 1}}
	switch {
	case v.depth > maxGuides:
		v.guide, v.prefix = parent.prefix+"⋯ ", parent.prefix
	case last:
		v.guide, v.prefix = parent.prefix+"└ ", parent.prefix+"  "
	default:
		v.guide, v.prefix = parent.prefix+"├ ", parent.prefix+"│ "
	}
	return v
}

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

// Row is a line of a tree as a waterfall shows it.
type Row struct {
	// Name is the span's, with the record's place where it has one.
	Name, Service string
	// Depth is how many ancestors stand above it.
	Depth int
	// After is how long after the trace's start it starts.
	After, Duration time.Duration
	// From and Width are the same in shares of the trace's duration, 0 to 1:
	// From+Width is never more than 1.
	From, Width float64
	// Failed says that its status is an error; Error is its kind, "" for none.
	Failed bool
	Error  string
	// Detail is what else there is to say in a few words, such as "201" or
	// "tries 3, batch of 12".
	Detail string
	// Links are spans of other traces: of the batch that it was part of, say.
	Links []Link
}

// Rows are the tree's lines as a waterfall shows them.
func (t Tree) Rows() []Row {
	rows := make([]Row, len(t.Lines))
	for i, l := range t.Lines {
		row := Row{
			Name: l.title(), Service: l.Service, Depth: l.Depth, After: l.After, Duration: l.Duration,
			Failed: l.Failed, Error: l.Error, Detail: l.detail(),
			Links: slices.DeleteFunc(slices.Clone(l.Links), func(link Link) bool { return link.TraceID == t.TraceID }),
		}
		if t.Duration > 0 {
			row.From = float64(l.After) / float64(t.Duration)
			row.Width = min(float64(l.Duration)/float64(t.Duration), 1-row.From)
		}
		rows[i] = row
	}
	return rows
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

// eighths is how finely a bar is drawn, in parts of a column.
const eighths = 8

// bar draws when something was: columns stand for the whole time, and what
// took from after to after+length of it is filled, an eighth of a column at
// least.
func bar(after, length, whole time.Duration, columns int) string {
	scale := func(d time.Duration) int {
		if whole <= 0 {
			return 0
		}
		return int(float64(d) / float64(whole) * float64(columns*eighths))
	}
	from := min(scale(after), columns*eighths-1)
	to := min(max(scale(after+length), from+1), columns*eighths)
	var b strings.Builder
	for left := 0; left < columns*eighths; left += eighths {
		b.WriteString(cell(max(from-left, 0), min(to-left, eighths)))
	}
	return b.String()
}

// cell is a column that is filled between two of its eighths. There are
// characters for all widths from the left, and for two from the right.
func cell(from, to int) string {
	switch {
	case from >= eighths || to <= 0:
		return " "
	case from == 0:
		return string([]rune("▏▎▍▌▋▊▉█")[to-1])
	case to < eighths && from < eighths/2:
		return string([]rune("▏▎▍▌▋▊▉█")[to-from-1])
	case from <= 1:
		return "█"
	case from <= 5:
		return "▐"
	default:
		return "▕"
	}
}

// period writes a duration with three digits, such as 48.2 ms.
func period(d time.Duration) string {
	const day = 24 * time.Hour
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d <= 0:
		return "0 ms"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", ms)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", ms)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 1000*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}
