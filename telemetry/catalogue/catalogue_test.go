package catalogue_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

func TestCommonAndOptionalAreValid(t *testing.T) {
	all := append(catalogue.Common(), catalogue.Optional()...)
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
	durations := []float64{.001, .005, .01, .05, .1, .5, 1, 2, 5, 10, 30, 60}
	handlers := slices.Concat([]float64{.0001, .00025, .0005}, durations)
	contract := []catalogue.Metric{
		{Name: "kafka_messages_produced_total", Kind: catalogue.Counter, Labels: []string{"topic"}},
		{Name: "kafka_messages_consumed_total", Kind: catalogue.Counter, Labels: []string{"topic"}},
		{Name: "kafka_message_processing_duration_seconds", Kind: catalogue.Histogram, Labels: []string{"topic"}, Buckets: handlers},
		{Name: "kafka_consumer_lag", Kind: catalogue.Gauge, Labels: []string{"topic", "partition"}},
		{Name: "http_requests_total", Kind: catalogue.Counter, Labels: []string{"method", "route", "status_code"}},
		{Name: "http_request_duration_seconds", Kind: catalogue.Histogram, Labels: []string{"method", "route", "status_code"}, Buckets: durations},
		{Name: "process_uptime_seconds", Kind: catalogue.Gauge},
		{Name: "process_memory_usage_bytes", Kind: catalogue.Gauge, Labels: []string{"type"}},
	}
	documented := 0
	for _, m := range catalogue.Common() {
		if m.Documented {
			documented++
		}
	}
	if documented != len(contract) {
		t.Errorf("%d metrics are documented, want %d", documented, len(contract))
	}
	for _, want := range contract {
		got, ok := catalogue.Common().Lookup(want.Name)
		if !ok || !got.Documented || got.Kind != want.Kind ||
			!slices.Equal(always(got), want.Labels) || !slices.Equal(got.Buckets, want.Buckets) {
			t.Errorf("%s: got %+v, want %+v", want.Name, got, want)
		}
	}
}

// always returns the labels that no series of the metric lacks. What a label by option adds breaks no dashboard.
func always(m catalogue.Metric) []string {
	return slices.DeleteFunc(slices.Clone(m.Labels), func(label string) bool { return slices.Contains(m.Conditional, label) })
}

func TestCatalogueValidate(t *testing.T) {
	good := catalogue.Metric{
		Name: "queue_wait_seconds", Kind: catalogue.Histogram, Help: "Wait.", Unit: "s",
		Labels: []string{"queue"}, Buckets: []float64{1, 2}, Bound: "two queues",
	}
	tests := []struct {
		name   string
		change func(*catalogue.Metric)
		want   string
	}{
		{"good", func(*catalogue.Metric) {}, ""},
		{"name", func(m *catalogue.Metric) { m.Name = "Queue-wait_seconds" }, "snake case"},
		{"no help", func(m *catalogue.Metric) { m.Help = "" }, "help"},
		{"help of two lines", func(m *catalogue.Metric) { m.Help = "a\nb" }, "help"},
		{"label service", func(m *catalogue.Metric) { m.Labels = []string{"service"} }, `"service"`},
		{"label le", func(m *catalogue.Metric) { m.Labels = []string{"le"} }, `"le"`},
		{"label twice", func(m *catalogue.Metric) { m.Labels = []string{"a", "a"} }, "repeated"},
		{"no bound", func(m *catalogue.Metric) { m.Bound = "" }, "bounds"},
		{"unit without suffix", func(m *catalogue.Metric) { m.Name = "queue_wait" }, "_seconds"},
		{"no buckets", func(m *catalogue.Metric) { m.Buckets = nil }, "without buckets"},
		{"equal buckets", func(m *catalogue.Metric) { m.Buckets = []float64{1, 1} }, "ascend"},
		{"gauge with buckets", func(m *catalogue.Metric) { m.Kind = catalogue.Gauge }, "only histograms"},
		{"counter without total", func(m *catalogue.Metric) { m.Kind, m.Buckets = catalogue.Counter, nil }, "_total"},
		{"too many series", func(m *catalogue.Metric) { m.MaxSeries = 2000 }, "1999"},
		{"negative series", func(m *catalogue.Metric) { m.MaxSeries = -1 }, "-1 series"},
		{"strange condition", func(m *catalogue.Metric) { m.Conditional = []string{"topic"} }, `"topic"`},
		{"sum of histograms", func(m *catalogue.Metric) { m.Sum = true }, "sums"},
		{"no kind", func(m *catalogue.Metric) { m.Kind = 0 }, "unknown kind"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := good
			test.change(&m)
			err := catalogue.Catalogue{m}.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestClashesAreInvalid pairs names that OpenMetrics, which cuts _total and knows suffixes, cannot tell apart.
func TestClashesAreInvalid(t *testing.T) {
	of := func(name string, kind catalogue.Kind) catalogue.Metric {
		m := catalogue.Metric{Name: name, Kind: kind, Help: "One."}
		if kind == catalogue.Histogram {
			m.Buckets = []float64{1}
		}
		return m
	}
	for _, test := range []struct {
		a, b  catalogue.Metric
		clash bool
	}{
		{of("jobs_total", catalogue.Counter), of("jobs", catalogue.Gauge), true},
		{of("jobs_total", catalogue.Counter), of("jobs", catalogue.Histogram), true},
		{of("jobs_total", catalogue.Counter), of("jobs_created", catalogue.Gauge), true},
		{of("jobs", catalogue.Histogram), of("jobs_count", catalogue.Gauge), true},
		{of("jobs", catalogue.Histogram), of("jobs_sum", catalogue.Gauge), true},
		{of("jobs", catalogue.Histogram), of("jobs_bucket_total", catalogue.Counter), true},
		{of("jobs", catalogue.Histogram), of("jobs_created", catalogue.Gauge), true},
		{of("jobs_total", catalogue.Counter), of("jobs_count", catalogue.Gauge), false},
		{of("jobs", catalogue.Gauge), of("jobs_count", catalogue.Gauge), false},
		{of("jobs", catalogue.Gauge), of("jobs_done_total", catalogue.Counter), false},
	} {
		for _, c := range []catalogue.Catalogue{{test.a, test.b}, {test.b, test.a}} {
			if err := c.Validate(); (err != nil) != test.clash || err != nil && !strings.Contains(err.Error(), "clashes") {
				t.Errorf("%s and %s: %v, want a clash: %v", c[0].Name, c[1].Name, err, test.clash)
			}
		}
	}
}
