package proc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
)

// Output collects what a program writes and notifies those who wait for it. It is
// safe for concurrent use; [NewOutput] makes one.
type Output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{} // closed and replaced by every write
}

// NewOutput makes an Output that has nothing yet.
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

// Lines and bytes of a log that a failure shows.
const (
	tailLines = 40
	tailBytes = 8 << 10
)

// Tail is the end of a log file, or why it cannot be read.
func Tail(path string) string {
	text, err := os.ReadFile(path) //nolint:gosec // a test's own file
	if err != nil {
		return err.Error()
	}
	return End(string(text))
}

// End is the end of a long text.
func End(text string) string {
	end := strings.TrimSpace(text[max(0, len(text)-tailBytes):])
	lines := strings.Split(end, "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
