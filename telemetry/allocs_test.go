package telemetry

import (
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
