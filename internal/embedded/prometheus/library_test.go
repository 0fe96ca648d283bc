//go:build !race || whole

package prometheus

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// A Prometheus that an operator set up, with a label service of its own and with native histograms, takes the library's page as
// the options say: nothing is renamed, and bounds and native buckets are of one histogram.
func TestTheLibrarysPageAsAnOperatorScrapesIt(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", LogWriter: io.Discard, OmitServiceLabel: true, NativeHistograms: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	handling, err := tel.Instruments().Float64Histogram(catalogue.KafkaMessageProcessingDuration)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		handling.Record(t.Context(), 0.3, metric.WithAttributes(attribute.String("topic", "orders")))
	}
	page := httptest.NewServer(tel.MetricsHandler())
	t.Cleanup(page.Close)
	s := start(t, Config{})
	cfg, err := config.Load(`
global: {scrape_interval: 1s, scrape_native_histograms: true, always_scrape_classic_histograms: true}
scrape_configs:
  - job_name: operator
    metrics_path: /
    static_configs: [{targets: ["`+strings.TrimPrefix(page.URL, "http://")+`"], labels: {service: shop-metrics}}]
`, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.engine.scrape(cfg); err != nil {
		t.Fatal(err)
	}
	const name = `{service="shop-metrics",topic="orders"}`
	s.until(t, `histogram_count(kafka_message_processing_duration_seconds`+name+`)`, one(100))
	s.until(t, `kafka_message_processing_duration_seconds_bucket{service="shop-metrics",topic="orders",le="0.5"}`, one(100))
	s.until(t, `histogram_quantile(0.5, kafka_message_processing_duration_seconds`+name+`)`, func(v model.Vector) bool {
		return len(v) == 1 && v[0].Value > 0.3*0.95 && v[0].Value < 0.3*1.05 // by the bounds it is between 0.1 and 0.5
	})
	v := s.until(t, `count({service="shop-metrics"})`, some)
	if renamed, _, _, err := s.Query(t.Context(), `count({exported_service!=""})`, v[0].Timestamp.Time()); err != nil || renamed.String() != "" {
		t.Errorf("renamed labels: %v, %v", renamed, err)
	}
}
