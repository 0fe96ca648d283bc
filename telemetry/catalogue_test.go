package telemetry_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry"
)

func TestCommonAndOptionalAreValid(t *testing.T) {
	all := append(telemetry.Common(), telemetry.Optional()...)
	if err := all.Validate(); err != nil {
		t.Error(err)
	}
	for _, m := range all {
		if len(m.Labels) > 0 && m.MaxSeries == 0 {
			t.Errorf("%s does not say how many series it can have", m.Name)
		}
	}
}

// TestCommonKeepsTheContract repeats the documented table on purpose: a change there must be a decision.
func TestCommonKeepsTheContract(t *testing.T) {
	durations := []float64{.001, .005, .01, .05, .1, .5, 1, 2, 5}
	contract := []telemetry.Metric{
		{Name: "kafka_messages_produced_total", Kind: telemetry.Counter, Labels: []string{"topic"}},
		{Name: "kafka_messages_consumed_total", Kind: telemetry.Counter, Labels: []string{"topic"}},
		{Name: "kafka_message_processing_duration_seconds", Kind: telemetry.Histogram, Labels: []string{"topic"}, Buckets: durations},
		{Name: "kafka_consumer_lag", Kind: telemetry.Gauge, Labels: []string{"topic", "partition"}},
		{Name: "http_requests_total", Kind: telemetry.Counter, Labels: []string{"method", "route", "status_code"}},
		{Name: "http_request_duration_seconds", Kind: telemetry.Histogram, Labels: []string{"method", "route", "status_code"}, Buckets: durations},
		{Name: "process_uptime_seconds", Kind: telemetry.Gauge},
		{Name: "process_memory_usage_bytes", Kind: telemetry.Gauge, Labels: []string{"type"}},
	}
	documented := 0
	for _, m := range telemetry.Common() {
		if m.Documented {
			documented++
		}
	}
	if documented != len(contract) {
		t.Errorf("%d metrics are documented, want %d", documented, len(contract))
	}
	for _, want := range contract {
		got, ok := telemetry.Common().Lookup(want.Name)
		if !ok || !got.Documented || got.Kind != want.Kind ||
			!slices.Equal(got.Labels, want.Labels) || !slices.Equal(got.Buckets, want.Buckets) {
			t.Errorf("%s: got %+v, want %+v", want.Name, got, want)
		}
	}
}

func TestCatalogueValidate(t *testing.T) {
	good := telemetry.Metric{
		Name: "queue_wait_seconds", Kind: telemetry.Histogram, Help: "Wait.", Unit: "s",
		Labels: []string{"queue"}, Buckets: []float64{1, 2}, Bound: "two queues",
	}
	tests := []struct {
		name   string
		change func(*telemetry.Metric)
		want   string
	}{
		{"good", func(*telemetry.Metric) {}, ""},
		{"name", func(m *telemetry.Metric) { m.Name = "Queue-wait_seconds" }, "snake case"},
		{"no help", func(m *telemetry.Metric) { m.Help = "" }, "help"},
		{"help of two lines", func(m *telemetry.Metric) { m.Help = "a\nb" }, "help"},
		{"label service", func(m *telemetry.Metric) { m.Labels = []string{"service"} }, `"service"`},
		{"label le", func(m *telemetry.Metric) { m.Labels = []string{"le"} }, `"le"`},
		{"label twice", func(m *telemetry.Metric) { m.Labels = []string{"a", "a"} }, "repeated"},
		{"no bound", func(m *telemetry.Metric) { m.Bound = "" }, "bounds"},
		{"unit without suffix", func(m *telemetry.Metric) { m.Name = "queue_wait" }, "_seconds"},
		{"no buckets", func(m *telemetry.Metric) { m.Buckets = nil }, "without buckets"},
		{"equal buckets", func(m *telemetry.Metric) { m.Buckets = []float64{1, 1} }, "ascend"},
		{"gauge with buckets", func(m *telemetry.Metric) { m.Kind = telemetry.Gauge }, "only histograms"},
		{"counter without total", func(m *telemetry.Metric) { m.Kind, m.Buckets = telemetry.Counter, nil }, "_total"},
		{"too many series", func(m *telemetry.Metric) { m.MaxSeries = 2000 }, "1999"},
		{"negative series", func(m *telemetry.Metric) { m.MaxSeries = -1 }, "-1 series"},
		{"strange condition", func(m *telemetry.Metric) { m.Conditional = []string{"topic"} }, `"topic"`},
		{"no kind", func(m *telemetry.Metric) { m.Kind = 0 }, "unknown kind"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := good
			test.change(&m)
			err := telemetry.Catalogue{m}.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestClashesAreInvalid pairs names that OpenMetrics, which cuts _total and knows suffixes, cannot tell apart.
func TestClashesAreInvalid(t *testing.T) {
	of := func(name string, kind telemetry.Kind) telemetry.Metric {
		m := telemetry.Metric{Name: name, Kind: kind, Help: "One."}
		if kind == telemetry.Histogram {
			m.Buckets = []float64{1}
		}
		return m
	}
	for _, test := range []struct {
		a, b  telemetry.Metric
		clash bool
	}{
		{of("jobs_total", telemetry.Counter), of("jobs", telemetry.Gauge), true},
		{of("jobs_total", telemetry.Counter), of("jobs", telemetry.Histogram), true},
		{of("jobs_total", telemetry.Counter), of("jobs_created", telemetry.Gauge), true},
		{of("jobs", telemetry.Histogram), of("jobs_count", telemetry.Gauge), true},
		{of("jobs", telemetry.Histogram), of("jobs_sum", telemetry.Gauge), true},
		{of("jobs", telemetry.Histogram), of("jobs_bucket_total", telemetry.Counter), true},
		{of("jobs", telemetry.Histogram), of("jobs_created", telemetry.Gauge), true},
		{of("jobs_total", telemetry.Counter), of("jobs_count", telemetry.Gauge), false},
		{of("jobs", telemetry.Gauge), of("jobs_count", telemetry.Gauge), false},
		{of("jobs", telemetry.Gauge), of("jobs_done_total", telemetry.Counter), false},
	} {
		for _, c := range []telemetry.Catalogue{{test.a, test.b}, {test.b, test.a}} {
			if err := c.Validate(); (err != nil) != test.clash || err != nil && !strings.Contains(err.Error(), "clashes") {
				t.Errorf("%s and %s: %v, want a clash: %v", c[0].Name, c[1].Name, err, test.clash)
			}
		}
	}
}
