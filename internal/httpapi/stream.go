package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// streamWrite is how long one event may take to be sent.
const streamWrite = 10 * time.Second

// Stream sends events until ctx ends: with the client, or with the server.
type Stream func(ctx context.Context, send func(Event) error) error

// Event is one server-sent event (WHATWG HTML section 9.2). An empty one keeps the
// connection alive.
type Event struct {
	Name string
	Data string
}

// HandleStream adds a route whose answer is a stream of events, at most so many at
// once; those beyond get 503. A stream counts, is timed and traced by its
// beginning alone: how long somebody looks at a page is nobody's latency.
func (rt *Router) HandleStream(pattern string, most int, stream Stream) {
	slots := make(chan struct{}, most)
	rt.add(pattern, rt.guarded(knownParameters(nil, func(w http.ResponseWriter, r *http.Request) {
		after, ok := r.Context().Value(afterwardsKey{}).(*afterwards)
		if !ok {
			WriteProblem(w, Problem{Type: Fault, Detail: "Nothing can be streamed here."})
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			writeBusy(w)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		after.run = func(ctx context.Context, w http.ResponseWriter) {
			defer func() { <-slots }()
			_ = stream(ctx, func(e Event) error { return writeEvent(w, e) }) // the client is gone, or the server stops
		}
	})))
}

// writeEvent sends an event at once.
func writeEvent(w http.ResponseWriter, e Event) error {
	var text strings.Builder
	if e.Name == "" {
		text.WriteString(":\n")
	} else {
		text.WriteString("event: " + e.Name + "\n")
		for line := range strings.SplitSeq(e.Data, "\n") {
			text.WriteString("data: " + line + "\n")
		}
	}
	text.WriteString("\n")
	control := http.NewResponseController(w)
	// Tests without a connection have no deadline.
	_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := w.Write([]byte(text.String())); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	if err := control.Flush(); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	return nil
}

// afterwards is what is left to do for a request once everything around the
// router has finished with it.
type afterwards struct {
	run func(context.Context, http.ResponseWriter)
}

type afterwardsKey struct{}

// continued lets a handler leave something to do afterwards, which ends with the
// request or when closing is closed.
func continued(next http.Handler, closing <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left := &afterwards{}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), afterwardsKey{}, left)))
		if left.run == nil {
			return
		}
		go func() {
			select {
			case <-closing:
				cancel()
			case <-ctx.Done():
			}
		}()
		left.run(ctx, w)
	})
}
