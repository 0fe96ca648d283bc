package telemetry

import (
	"io"
	"sync"
)

// LineWriter passes on one write at a time, so that the services of one process can log to one writer without
// cutting each other's lines. Create it once with [NewLineWriter] and give it to each service.
type LineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLineWriter returns a LineWriter over w, or w itself if it is one already.
func NewLineWriter(w io.Writer) *LineWriter {
	if lines, ok := w.(*LineWriter); ok {
		return lines
	}
	return &LineWriter{w: w}
}

// Write writes p, which should be whole lines, while no other Write goes on.
func (l *LineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Unwrap returns the writer underneath, to ask whether it is a terminal.
func (l *LineWriter) Unwrap() io.Writer { return l.w }
