package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// The options of each label set are kept: measuring a request makes no new ones.
func TestRecordingARequestAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	tel, err := Setup(t.Context(), Config{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(t.Context()) }()
	req := httptest.NewRequest(http.MethodGet, "/orders/1", nil)
	recorded := 0
	allocated := testing.AllocsPerRun(1000, func() {
		recorded++
		tel.http.record(req.Context(), req.Method, "/orders/{id}", http.StatusOK, time.Millisecond)
		tel.http.convention.record(req, "/orders/{id}", http.StatusOK, false, time.Millisecond)
	})
	if allocated != 0 {
		t.Errorf("%v allocations for one request", allocated)
	}
	for _, name := range []string{catalogue.HTTPRequestDurationSeconds, catalogue.HTTPServerRequestDuration} {
		if got := measurements(t, tel, name); got != recorded {
			t.Errorf("%s has %d measurements, want %d", name, got, recorded)
		}
	}
}

// measurements returns how many a histogram has.
func measurements(t *testing.T, tel *Telemetry, name string) (n int) {
	t.Helper()
	families, err := tel.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				n += int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return n
}

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
