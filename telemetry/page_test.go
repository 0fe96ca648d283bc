package telemetry_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// ownMetrics stands for a service's own part of the catalogue; its unit is one that Prometheus would append.
func ownMetrics() telemetry.Catalogue {
	return telemetry.Catalogue{
		{Name: "order_amount_euros", Kind: telemetry.Histogram, Unit: "EUR", Buckets: []float64{1, 5, 10}, Help: "Amounts."},
		{Name: "payments_total", Kind: telemetry.Counter, Labels: []string{"status"}, Bound: "two values", Help: "Payments."},
	}
}

// fillEverything gives every metric of the catalogue one series.
func fillEverything(t *testing.T, r *telemetrytest.Recorder) {
	t.Helper()
	for _, m := range r.Catalogue() {
		if strings.HasPrefix(m.Name, "process_") {
			continue
		}
		var attributes []attribute.KeyValue
		for _, label := range m.Labels {
			value := "v"
			if label == "reason" && strings.HasPrefix(m.Name, "otel_") {
				value = "queue_full" // telemetry itself has made the series
			}
			attributes = append(attributes, attribute.String(label, value))
		}
		labels := metric.WithAttributes(attributes...)
		var err error
		switch m.Kind {
		case telemetry.Counter:
			var c metric.Int64Counter
			if c, err = r.Instruments().Int64Counter(m.Name); err == nil {
				c.Add(t.Context(), 3, labels)
			}
		case telemetry.Histogram:
			var h metric.Float64Histogram
			if h, err = r.Instruments().Float64Histogram(m.Name); err == nil {
				h.Record(t.Context(), 0.03, labels)
			}
		case telemetry.Gauge:
			_, err = r.Instruments().Int64ObservableGauge(m.Name, func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(7, labels)
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// cataloguePage keeps the lines of the catalogue's metrics and masks the values that change with each run.
func cataloguePage(r *telemetrytest.Recorder) string {
	name := regexp.MustCompile(`^(?:# (?:HELP|TYPE) )?([a-z_]+?)(?:_bucket|_sum|_count)?[ {]`)
	mask := regexp.MustCompile(`(?m)^(process_[^ ]+) .*$`)
	var b strings.Builder
	for line := range strings.Lines(r.Page()) {
		match := name.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		if _, ok := r.Catalogue().Lookup(match[1]); ok {
			b.WriteString(line)
		}
	}
	return mask.ReplaceAllString(b.String(), "$1 <value>")
}

func TestPageHasTheDocumentedNames(t *testing.T) {
	r := telemetrytest.New(t, "shop", ownMetrics())
	fillEverything(t, r)
	r.CheckCatalogue()
	telemetrytest.Golden(t, "page.golden", cataloguePage(r))
}

func TestEveryMetricHasTheServiceAndNoScope(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	fillEverything(t, r)
	for line := range strings.Lines(r.Page()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, `service="shop"`) {
			t.Errorf("no label service: %s", line)
		}
		if strings.Contains(line, "otel_scope") || strings.Contains(line, "otel_metric_overflow") || strings.HasPrefix(line, "target_info") {
			t.Errorf("OpenTelemetry's own: %s", line)
		}
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if !strings.Contains(r.Page(), name+"{") && systemHas(name) {
			t.Errorf("%s of client_golang is missing", name)
		}
	}
}

// systemHas says whether client_golang has the metric on this system: its process collector reads
// /proc, and has an own implementation on Windows and macOS.
func systemHas(name string) bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil || !strings.HasPrefix(name, "process_")
}

func TestPageLints(t *testing.T) {
	r := telemetrytest.New(t, "shop", ownMetrics())
	fillEverything(t, r)
	problems, err := testutil.GatherAndLint(r.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMarkdown(t *testing.T) {
	own := append(ownMetrics(), telemetry.Metric{
		Name: "odd", Kind: telemetry.Gauge, Help: "Text | with a pipe.", Labels: []string{"l"}, Bound: "a|b",
	})
	telemetrytest.Golden(t, "metrics.md", telemetry.Markdown(telemetry.Common(), own, telemetry.Common()))
}

func TestDocumentSetsOptionalMetricsApart(t *testing.T) {
	text := telemetry.Document(telemetry.Sections()...)
	telemetrytest.Golden(t, "reference.md", text)
	common, optional, found := strings.Cut(text, "\n## By option")
	if !found {
		t.Fatal("no heading for what is optional")
	}
	for _, m := range telemetry.Optional() {
		if row := "| `" + m.Name + "` "; strings.Contains(common, row) || strings.Count(optional, row) != 1 {
			t.Errorf("%s does not stand once under the headings of what is optional", m.Name)
		}
	}
}
