package httpapi

import (
	"net/http"

	"golang.org/x/sync/semaphore"
)

const (
	// smallAnswer is what a connection's own buffers take, in bytes: sending
	// that much waits for nobody.
	smallAnswer = 16 << 10
	// sendingOwn and sendingMetrics bound, in bytes, the larger answers that
	// wait for slow readers.
	sendingOwn     = 32 << 20
	sendingMetrics = 16 << 20
	// maxScrapes bounds the requests for the metrics page at work at once.
	maxScrapes = 16
)

// lane bounds what requests of one kind may hold: how many are at work, and
// how much of their answers waits to be read. A slot is held while the handler
// works, and neither while the body arrives nor while the answer is sent, which
// clients draw out as they like.
type lane struct {
	slots   chan struct{}
	sending *semaphore.Weighted
	budget  int64
}

func newLane(slots int, budget int64) *lane {
	return &lane{slots: make(chan struct{}, slots), sending: semaphore.NewWeighted(budget), budget: budget}
}

// full says whether a request would be refused now.
func (l *lane) full() bool { return len(l.slots) == cap(l.slots) }

// enter takes a slot if one is free; leave gives it back.
func (l *lane) enter() bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *lane) leave() { <-l.slots }

// hold takes an answer's bytes out of the budget, and returns how many to
// release once it is sent, or false where there is no room.
func (l *lane) hold(size int64) (held int64, ok bool) {
	if size <= smallAnswer {
		return 0, true
	}
	held = min(size, l.budget)
	return held, l.sending.TryAcquire(held)
}

// bounded has a handler work only inside the lane.
func (l *lane) bounded(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if a, ok := w.(*answer); ok {
			a.lane = l
		}
		if !l.enter() {
			writeBusy(w)
			return
		}
		defer l.leave()
		handler(w, r)
	}
}

func writeBusy(w http.ResponseWriter) {
	WriteProblem(w, Problem{
		Status: http.StatusServiceUnavailable, RetryAfter: retrySoon,
		Detail: "The service has as many requests at work as it takes; nothing was done about this one.",
	})
}
