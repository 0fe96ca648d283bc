package proc

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"sync"
)

// Output collects what a program writes and tells those who wait for it. It is
// safe for concurrent use; [NewOutput] makes one.
type Output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{} // closed and replaced by every write
}

// NewOutput makes an Output that holds nothing yet.
func NewOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write adds to the output; it never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.buffer.Write(p)
}

// String is all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// Await returns the pattern's submatches once the output has it. It returns
// nil and no error when done is closed first, and an error with the output's
// text when ctx ends first.
func (o *Output) Await(ctx context.Context, pattern *regexp.Regexp, done <-chan struct{}) ([]string, error) {
	for {
		o.mu.Lock()
		found, changed := pattern.FindStringSubmatch(o.buffer.String()), o.changed
		o.mu.Unlock()
		if found != nil {
			return found, nil
		}
		select {
		case <-changed:
		case <-done:
			// What was written last came before the end.
			return pattern.FindStringSubmatch(o.String()), nil
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %q: %w in the output:\n%s", pattern, ctx.Err(), o)
		}
	}
}
