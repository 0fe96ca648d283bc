//go:build unix

package stack

import (
	"context"
	"fmt"
	"slices"
)

// Trace is a trace as Jaeger's query API gives it.
type Trace struct {
	TraceID   string
	Spans     []*Span
	Processes map[string]struct{ ServiceName string }
}

// Span is one of a trace's spans.
type Span struct {
	SpanID, OperationName, ProcessID string
	References                       []struct{ RefType, TraceID, SpanID string }
}

// Trace asks Jaeger for a trace. One that it does not have is an error.
func (s *Tracing) Trace(ctx context.Context, id string) (*Trace, error) {
	var answer struct {
		Data   []*Trace
		Errors []struct{ Msg string }
	}
	if err := Get(ctx, s.Jaeger.URL("/api/traces/"+id), &answer); err != nil {
		return nil, err
	}
	if len(answer.Data) != 1 {
		return nil, fmt.Errorf("trace %s: Jaeger has %d of it: %v", id, len(answer.Data), answer.Errors)
	}
	return answer.Data[0], nil
}

// Service is the service that made the span.
func (t *Trace) Service(s *Span) string { return t.Processes[s.ProcessID].ServiceName }

// Named are the spans of a service with one of the names.
func (t *Trace) Named(service string, names ...string) []*Span {
	var found []*Span
	for _, s := range t.Spans {
		if t.Service(s) == service && slices.Contains(names, s.OperationName) {
			found = append(found, s)
		}
	}
	return found
}

// Parent is the span's parent. The first span of a trace has none; whole is
// false where the trace lacks it.
func (t *Trace) Parent(s *Span) (parent *Span, whole bool) {
	for _, reference := range s.References {
		if reference.RefType != "CHILD_OF" || reference.TraceID != t.TraceID {
			continue
		}
		for _, other := range t.Spans {
			if other.SpanID == reference.SpanID {
				return other, true
			}
		}
		return nil, false
	}
	return nil, true
}

// Below says whether one of the ancestors is above the span.
func (t *Trace) Below(s *Span, ancestors []*Span) bool {
	for range t.Spans { // parents that go round in a circle end here
		parent, _ := t.Parent(s)
		if parent == nil {
			return false
		}
		if slices.Contains(ancestors, parent) {
			return true
		}
		s = parent
	}
	return false
}
