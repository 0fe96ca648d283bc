package process

import "sync"

// maxOutput bounds what is kept of a server's log.
const maxOutput = 1 << 20

// Output keeps the end of what a process writes.
type Output struct {
	mu   sync.Mutex
	text []byte
}

func newOutput() *Output { return &Output{} }

// Write adds to the output; it never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	if extra := len(o.text) - maxOutput; extra > 0 {
		o.text = append(o.text[:0], o.text[extra:]...)
	}
	return len(p), nil
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
