package telemetry

import (
	"io"
	"sync"
	"time"
)

// maxBatch bounds, in bytes, the lines that wait in a [LineWriter] that batches.
const maxBatch = 64 << 10

// LineWriter passes on one write at a time, so that the services of one process can log to one writer without
// cutting each other's lines. Create it once, with [NewLineWriter] or [NewBatchingLineWriter], and give it to each
// service.
type LineWriter struct {
	w     io.Writer
	delay time.Duration // how long lines may wait; 0: not at all

	writing sync.Mutex // held for each write to w, and before mu where both are
	spare   []byte     // of the writing

	mu    sync.Mutex
	lines []byte      // that wait
	timer *time.Timer // which ends their waiting; nil before the first
	armed bool
}

// NewLineWriter returns a LineWriter over w that keeps nothing back, or w itself if it is a LineWriter already.
func NewLineWriter(w io.Writer) *LineWriter {
	if lines, ok := w.(*LineWriter); ok {
		return lines
	}
	return &LineWriter{w: w}
}

// NewBatchingLineWriter returns a LineWriter over w that writes log lines in batches: under load a write for each line
// is a large part of what a line costs. A line waits for delay at most. Warnings and errors are written at once, as is
// all before them, and so is everything that is written with [LineWriter.Write]. At most 64 KiB wait: who logs while
// they cannot be written waits as well, as for w itself.
//
// What waits is lost where the process ends without [LineWriter.Close]: by kill -9, say.
func NewBatchingLineWriter(w io.Writer, delay time.Duration) *LineWriter {
	return &LineWriter{w: w, delay: delay}
}

// Write writes p, which should be whole lines, after all that waits and while no other write goes on.
func (l *LineWriter) Write(p []byte) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.writeWaiting(); err != nil {
		return 0, err
	}
	return l.w.Write(p)
}

// Flush writes what waits.
func (l *LineWriter) Flush() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.writeWaiting()
}

// Close writes what waits, and has later lines wait no more: they are written as they come. It does not close the writer underneath.
func (l *LineWriter) Close() error {
	l.mu.Lock()
	l.delay = 0
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	return l.Flush()
}

// Unwrap returns the writer underneath, to ask whether it is a terminal.
func (l *LineWriter) Unwrap() io.Writer { return l.w }

// enqueue has a line written soon.
func (l *LineWriter) enqueue(line []byte) error {
	l.mu.Lock()
	wait := l.delay > 0 && len(l.lines)+len(line) <= maxBatch
	if wait {
		l.lines = append(l.lines, line...)
		l.arm()
	}
	l.mu.Unlock()
	if wait {
		return nil
	}
	_, err := l.Write(line)
	return err
}

// arm has the lines flushed when their time is up. The caller has locked.
func (l *LineWriter) arm() {
	switch {
	case l.armed:
		return
	case l.timer == nil:
		l.timer = time.AfterFunc(l.delay, func() { _ = l.Flush() }) // as slog, which has nobody to tell
	default:
		l.timer.Reset(l.delay)
	}
	l.armed = true
}

// writeWaiting writes what waits; meanwhile others may add to it. The caller has locked the writing.
func (l *LineWriter) writeWaiting() error {
	l.mu.Lock()
	lines := l.lines
	l.lines, l.armed = l.spare[:0], false
	l.mu.Unlock()
	l.spare = lines
	if len(lines) == 0 {
		return nil
	}
	_, err := l.w.Write(lines)
	return err
}

// queue is a LineWriter as handlers of log lines see it.
type queue struct{ lines *LineWriter }

// Write implements [io.Writer].
func (q queue) Write(line []byte) (int, error) {
	if err := q.lines.enqueue(line); err != nil {
		return 0, err
	}
	return len(line), nil
}
