package sentinelle

import (
	"sync/atomic"

	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/probe"
)

// way is what is known of the way through the bank: the probes, and what became of
// the orders. Either may be missing.
type way struct {
	prober *probe.Prober                   // nil: nothing is probed
	orders atomic.Pointer[journeys.Ledger] // nil: they are not followed, or not yet
}

// WayThrough is the way through the bank as a page shows it and programs read it.
type WayThrough struct {
	// Probe is nil where nothing is probed, and Journeys where orders are not followed.
	Probe    *Probing         `json:"probe"`
	Journeys *journeys.Report `json:"journeys"`
}

// Probing is what came of the last probes.
type Probing struct {
	IntervalSeconds float64 `json:"intervalSeconds"`
	// Results are by partition; none before the first probe has ended.
	Results []probe.Result `json:"results"`
}

// look is what is known now.
func (w *way) look() WayThrough {
	var out WayThrough
	if w.prober != nil {
		out.Probe = &Probing{w.prober.Interval().Seconds(), orEmpty(w.prober.Latest())}
	}
	if ledger := w.orders.Load(); ledger != nil {
		report := ledger.Report()
		out.Journeys = &report
	}
	return out
}
