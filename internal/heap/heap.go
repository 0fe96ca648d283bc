// Package heap has the garbage collector run less often while there is little on the heap. It exists because Go's default
// collects whenever as much again has been allocated as is in use: a service that takes thousands of orders a second and
// holds ten megabytes then collects thirty times a second, which is a tenth of its work. Memory is given for that, within
// a bound.
package heap

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// Room is how many bytes of garbage may gather however little is in use.
	Room = 64 << 20
	// usual is Go's own default: as much garbage as is in use, in percent of that.
	usual = 100
	// most bounds what follows from next to nothing in use.
	most = 800
	// variable is where Go reads the percentage of those who want another.
	variable = "GOGC"
)

// Relax lets garbage gather, [Room] of it at most or as much as is in use where that is more, until stop is called. It does
// nothing where GOGC is set. GOMEMLIMIT goes before it, as before GOGC: near that limit garbage is collected as soon as
// it has to be.
func Relax() (stop func()) {
	if os.Getenv(variable) != "" {
		return func() {}
	}
	r := &relaxation{percent: usual}
	before := debug.SetGCPercent(usual)
	r.follow()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stopped = true
		debug.SetGCPercent(before)
	}
}

// relaxation follows how much is in use, from one collection to the next.
type relaxation struct {
	mu      sync.Mutex
	stopped bool
	percent int
}

// mark is garbage as soon as it is made, so that its clean-up tells of a collection.
type mark struct{ _ *mark }

// follow adjusts the percentage, now and after each collection. The runtime's own goroutine does that.
func (r *relaxation) follow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.adjust()
		runtime.AddCleanup(&mark{}, (*relaxation).follow, r)
	}
}

// adjust sets the percentage for what is in use, unless it hardly differs: setting it stops the world for a moment.
func (r *relaxation) adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := percentFor(live[0].Value.Uint64())
	if difference := percent - r.percent; max(difference, -difference)*10 > r.percent {
		debug.SetGCPercent(percent)
		r.percent = percent
	}
}

// percentFor is GOGC for so much in use, in bytes.
func percentFor(live uint64) int {
	if live <= Room*usual/most {
		return most
	}
	return max(usual, int(Room*usual/live))
}
