package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// A scraper that asks for protobuf gets native histograms beside the documented bounds, whose counts agree; to others the page
// is what it is without.
func TestNativeHistogramsStandBesideTheBounds(t *testing.T) {
	values := []float64{0.0002, 0.2, 0.2, 40}
	pages := make(map[bool]string)
	for _, native := range []bool{false, true} {
		tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", LogWriter: io.Discard, NativeHistograms: native})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
		handling, err := tel.Instruments().Float64Histogram(catalogue.KafkaMessageProcessingDuration)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			handling.Record(t.Context(), v, metric.WithAttributes(attribute.String("topic", "orders")))
		}
		families, err := tel.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		h := histogramOf(t, families, catalogue.KafkaMessageProcessingDuration)
		if got := len(h.GetBucket()); got != len(catalogue.HandlerBuckets()) || h.GetSampleCount() != uint64(len(values)) {
			t.Errorf("native %v: %d buckets, %d values", native, got, h.GetSampleCount())
		}
		var inBuckets, count int64
		for _, delta := range h.GetPositiveDelta() {
			count += delta
			inBuckets += count
		}
		if want := map[bool]int64{true: int64(len(values))}[native]; inBuckets+int64(h.GetZeroCount()) != want || native != (h.GetSchema() == 3) {
			t.Errorf("native %v: schema %d, %d values in buckets, want %d", native, h.GetSchema(), inBuckets, want)
		}
		text, kind := scrapeAs(tel, "text/plain")
		if !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("the page is %s", kind)
		}
		pages[native] = linesOf(text, catalogue.KafkaMessageProcessingDuration)
		if _, kind = scrapeAs(tel, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"); !strings.HasPrefix(kind, "application/vnd.google.protobuf") {
			t.Errorf("who asks for protobuf gets %s", kind)
		}
	}
	if pages[true] != pages[false] || pages[false] == "" {
		t.Errorf("with native histograms the text is\n%s\nwithout\n%s", pages[true], pages[false])
	}
}

// Scrapes and measurements at once leave no histogram whose counts contradict each other.
func TestNativeHistogramsAgreeWithTheirCountsUnderLoad(t *testing.T) {
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", LogWriter: io.Discard, NativeHistograms: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	handling, err := tel.Instruments().Float64Histogram(catalogue.KafkaMessageProcessingDuration)
	if err != nil {
		t.Fatal(err)
	}
	handling.Record(t.Context(), 0.5)
	done := make(chan struct{})
	var measuring sync.WaitGroup
	measuring.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				handling.Record(t.Context(), 0.5)
			}
		}
	})
	for range 50 {
		families, err := tel.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		h := histogramOf(t, families, catalogue.KafkaMessageProcessingDuration)
		if len(h.GetPositiveDelta()) != 1 || uint64(h.GetPositiveDelta()[0]) != h.GetSampleCount() {
			t.Errorf("native buckets %v of %d values", h.GetPositiveDelta(), h.GetSampleCount())
		}
		for _, bucket := range h.GetBucket() {
			if bucket.GetCumulativeCount() > h.GetSampleCount() {
				t.Errorf("the bucket %v has %d of %d values", bucket.GetUpperBound(), bucket.GetCumulativeCount(), h.GetSampleCount())
			}
		}
	}
	close(done)
	measuring.Wait()
}

// histogramOf returns the one histogram of that name.
func histogramOf(t *testing.T, families []*dto.MetricFamily, name string) *dto.Histogram {
	t.Helper()
	for _, family := range families {
		if family.GetName() == name && len(family.GetMetric()) == 1 {
			return family.GetMetric()[0].GetHistogram()
		}
	}
	t.Fatalf("there is not one %s", name)
	return nil
}

// scrapeAs returns the page as who accepts that gets it, and its content type.
func scrapeAs(tel *telemetry.Telemetry, accept string) (page, contentType string) {
	r, answer := httptest.NewRequest(http.MethodGet, "/metrics", nil), httptest.NewRecorder()
	r.Header.Set("Accept", accept)
	tel.MetricsHandler().ServeHTTP(answer, r)
	return answer.Body.String(), answer.Header().Get("Content-Type")
}

// linesOf returns the lines of a page with that word.
func linesOf(page, word string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.Contains(line, word) {
			b.WriteString(line)
		}
	}
	return b.String()
}
