package telemetry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestRecordingARequestAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	r := telemetrytest.New(t, "shop", nil)
	req := request(http.MethodGet, "/orders/1")
	allocated := testing.AllocsPerRun(1000, func() {
		telemetry.RecordHTTP(r.Telemetry, req, "/orders/{id}", http.StatusOK, time.Millisecond)
	})
	if allocated != 0 {
		t.Errorf("%v allocations for one request", allocated)
	}
	if got := r.Metric(telemetry.HTTPServerRequestDuration, nil); got != 1001 {
		t.Errorf("recorded %v requests, want 1001", got)
	}
}

// TestAPageOfTwoThousandSeriesIsCheap takes the cheapest of several rounds, which other work on the machine makes
// dearer and never cheaper.
func TestAPageOfTwoThousandSeriesIsCheap(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("times mean nothing here")
	}
	const rounds, pages = 40, 10
	r, w := withSeries(t, 2000), discarded{http.Header{}}
	page, req := r.MetricsHandler(), request(http.MethodGet, "/metrics")
	cheapest := time.Hour
	for range rounds {
		before := cpuTime()
		for range pages {
			page.ServeHTTP(w, req)
		}
		cheapest = min(cheapest, (cpuTime()-before)/pages)
	}
	t.Logf("%d series in %v", seriesOn(r), cheapest)
	if cheapest > 5*time.Millisecond {
		t.Errorf("a page takes %v of the processor, want under 5ms", cheapest)
	}
}

// discarded is an answer that nobody reads.
type discarded struct{ header http.Header }

func (d discarded) Header() http.Header         { return d.header }
func (d discarded) Write(b []byte) (int, error) { return len(b), nil }
func (d discarded) WriteHeader(int)             {}
