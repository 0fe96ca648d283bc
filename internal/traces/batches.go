package traces

import (
	"context"
	"time"
)

const (
	// maxBatches bounds how many batches are asked for, and batchTimeout how
	// long that takes: it is an ornament.
	maxBatches   = 24
	batchTimeout = 3 * time.Second
)

// Batches notes in the tree how many records the batches had that its spans
// were part of. What a service does for many records at once is a trace of its
// own; the part of it that is in a record's trace has its name and one link to
// it. What Jaeger does not answer soon stays unsaid.
func (j Jaeger) Batches(ctx context.Context, t Tree) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	batches := map[string][]Span{}
	for i := range t.Lines {
		l := &t.Lines[i]
		if len(l.Links) != 1 || l.Links[0].TraceID == t.TraceID {
			continue
		}
		link := l.Links[0]
		spans, known := batches[link.TraceID]
		if !known {
			if len(batches) == maxBatches {
				continue
			}
			spans = j.batches(ctx, link.TraceID)
			batches[link.TraceID] = spans
		}
		for _, s := range spans {
			if s.ID == link.SpanID && s.Name == l.Name {
				l.Batch = s.Records
			}
		}
	}
}

// batches returns the spans of a trace that were for many records.
func (j Jaeger) batches(ctx context.Context, id string) (found []Span) {
	trace, err := j.Trace(ctx, id)
	if err != nil {
		return nil
	}
	for _, s := range trace.Spans {
		if s.Records != "" {
			found = append(found, s)
		}
	}
	return found
}
