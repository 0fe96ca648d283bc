package storage

import (
	"errors"
	"sync"
)

// ErrClosed: the storage has been given back.
var ErrClosed = errors.New("storage is closed")

// gate counts the transactions under way, so that a close lets them end and
// begins no other.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{} // closed by the last one out, once shut
}

func newGate() *gate { return &gate{empty: make(chan struct{})} }

// enter lets a transaction in; [gate.leave] has to follow.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return ErrClosed
	}
	g.inside++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more and returns when everybody is out.
func (g *gate) close() {
	g.mu.Lock()
	first := !g.shut
	g.shut = true
	if first && g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
}
