package traces

import (
	"cmp"
	"slices"
	"time"
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
