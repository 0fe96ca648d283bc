package probe

import (
	"slices"
	"sync"
)

// maxUnasked is how many decisions are remembered that nobody has waited for yet: a decision
// may be read before commande has answered, and others probe as well.
const maxUnasked = 4 * MaxPartitions

// watch knows which decisions stand in the topics.
type watch struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
	unasked []string // the oldest first
}

func (w *watch) saw(orderID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seen, ok := w.waiting[orderID]; ok {
		close(seen)
		delete(w.waiting, orderID)
		return
	}
	if w.unasked = append(w.unasked, orderID); len(w.unasked) > maxUnasked {
		w.unasked = w.unasked[1:]
	}
}

// await returns what is closed once a decision on the order was seen, and what ends the wait.
func (w *watch) await(orderID string) (seen <-chan struct{}, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	closes := make(chan struct{})
	if slices.Contains(w.unasked, orderID) {
		close(closes)
		return closes, func() {}
	}
	if w.waiting == nil {
		w.waiting = map[string]chan struct{}{}
	}
	w.waiting[orderID] = closes
	return closes, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, orderID)
	}
}
