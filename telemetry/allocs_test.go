package telemetry

import (
	"bytes"
	"log/slog"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The service's label costs each series a list of labels of its own, and the page nothing else: to wrap the collectors
// instead would describe each series again at each scrape, for several allocations each.
func TestTheServiceLabelCostsOneAllocationPerSeries(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	const series = 500
	own := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"route"})
	own.MustRegister(requests)
	for i := range series {
		requests.WithLabelValues(strconv.Itoa(i)).Inc()
	}
	gather := func(g prometheus.Gatherer) float64 {
		return testing.AllocsPerRun(20, func() {
			families, err := g.Gather()
			if err != nil || len(families) != 1 || len(families[0].GetMetric()) != series {
				t.Fatalf("gathered %v, %v", families, err)
			}
		})
	}
	bare, labelled := gather(own), gather(newLabelled("shop", own, prometheus.NewRegistry()))
	// Gathering starts goroutines, which allocate a few more or fewer each time.
	if more := labelled - bare; more > series*1.2 {
		t.Errorf("%d series take %v allocations more with the label, want one each", series, more)
	}
}

func TestATextLineCostsNoMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	var out bytes.Buffer
	log := slog.New(newTextHandler(&out, "s", slog.LevelInfo, true))
	if allocs := testing.AllocsPerRun(100, func() {
		out.Reset()
		log.LogAttrs(t.Context(), slog.LevelInfo, "order created", slog.String("order_id", "order-1"), slog.Int("n", 7), slog.Bool("b", true))
	}); allocs > 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}
