package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
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
	telemetrytest.Golden(t, "metrics.md", catalogue.Markdown(catalogue.Common(), own, catalogue.Common()))
}

func TestDocumentSetsOptionalMetricsApart(t *testing.T) {
	text := catalogue.Document(catalogue.Sections()...)
	telemetrytest.Golden(t, "reference.md", text)
	common, optional, found := strings.Cut(text, "\n## By option")
	if !found {
		t.Fatal("no heading for what is optional")
	}
	for _, m := range catalogue.Optional() {
		if row := "| `" + m.Name + "` "; strings.Contains(common, row) || strings.Count(optional, row) != 1 {
			t.Errorf("%s does not stand once under the headings of what is optional", m.Name)
		}
	}
}

func TestMetricsHandlerFormats(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for accept, want := range map[string]string{
		"": "text/plain",
		"application/openmetrics-text; version=1.0.0": "application/openmetrics-text",
		"*/*": "text/plain",
	} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept", accept)
		answer := httptest.NewRecorder()
		r.MetricsHandler().ServeHTTP(answer, req)
		if got := answer.Header().Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q is answered with %q, want %s", accept, got, want)
		}
	}
}

// A client says by weights which coding it wants; one that refuses what there is gets the page as it is, and no fault is
// logged.
func TestTheCodingIsTheClientsToChoose(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "GZIP": "gzip", "gzip;q=0": "", "gzip; q=0": "", "gzip;q=0.000": "", "identity;q=0": "", "*;q=0": "",
		"zstd, identity;q=0": "", "gzip;q=0, *": "", "*": "gzip", "identity": "", "gzip;q=0.5, identity": "", "identity;q=0.5, gzip": "gzip",
		"br, gzip;q=0.1": "gzip", "gzip;q=much": "", "gzip, deflate, br, zstd": "gzip",
	} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept-Encoding", accept)
		answer := httptest.NewRecorder()
		r.MetricsHandler().ServeHTTP(answer, req)
		if got := answer.Header().Get("Content-Encoding"); got != want || answer.Code != http.StatusOK {
			t.Errorf("Accept-Encoding %q is answered with %d in %q, want %q", accept, answer.Code, got, want)
		}
		if plain := strings.Contains(answer.Body.String(), "process_uptime_seconds{"); plain != (want == "") {
			t.Errorf("Accept-Encoding %q: the page is plain: %v", accept, plain)
		}
		if req.Header.Get("Accept-Encoding") != accept {
			t.Errorf("the request's header is changed to %q", req.Header.Get("Accept-Encoding"))
		}
	}
	if lines := r.Logs(); len(lines) != 0 {
		t.Errorf("the log has %v", lines)
	}
}

// What others collect cannot make the page one that strict parsers refuse.
func TestClashesAreLeftOutOfThePage(t *testing.T) {
	r := telemetrytest.New(t, "shop", ownMetrics())
	fillEverything(t, r)
	jobs := prometheus.NewCounter(prometheus.CounterOpts{Name: "jobs_total", Help: "Jobs."})
	r.Registry().MustRegister(jobs, prometheus.NewGauge(prometheus.GaugeOpts{Name: "jobs", Help: "Jobs at work."}))
	for _, page := range []string{r.Page(), r.OpenMetricsPage()} {
		if !strings.Contains(page, "\njobs_total 0") || strings.Contains(page, "\njobs 0") {
			t.Error("of two metrics whose names clash the page has not the counter alone")
		}
		if !strings.Contains(page, "go_memstats_alloc_bytes_total{") || !strings.Contains(page, "go_memstats_heap_alloc_bytes{") {
			t.Error("metrics of the Go runtime are missing")
		}
	}
	if err := telemetrytest.CheckOpenMetrics(r.OpenMetricsPage()); err != nil {
		t.Error(err)
	}
}

// A handler behind a bound of its importer's has none of its own.
func TestScrapesNeedNoBound(t *testing.T) {
	tel, _, _ := withTaker(t, telemetry.Config{MaxScrapes: -1})
	s := stuck{make(chan struct{}), make(chan struct{})}
	if err := tel.Registry().Register(s); err != nil {
		t.Fatal(err)
	}
	const many = 20
	answers := make(chan int)
	for range many {
		go func() {
			answer := httptest.NewRecorder()
			tel.MetricsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			answers <- answer.Code
		}()
	}
	for range many {
		<-s.entered
	}
	close(s.release)
	for range many {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("a scrape is answered %d", code)
		}
	}
}

// stuck is a collector that says when a scrape has reached it and keeps it there.
type stuck struct{ entered, release chan struct{} }

func (s stuck) Describe(chan<- *prometheus.Desc) {}

func (s stuck) Collect(chan<- prometheus.Metric) {
	s.entered <- struct{}{}
	<-s.release
}

func TestScrapesAreBounded(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	s := stuck{make(chan struct{}), make(chan struct{})}
	if err := r.Registry().Register(s); err != nil {
		t.Fatal(err)
	}
	const limit = 8
	answers := make(chan int)
	scrape := func() int {
		answer := httptest.NewRecorder()
		r.MetricsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return answer.Code
	}
	for range limit {
		go func() { answers <- scrape() }()
	}
	for range limit {
		<-s.entered
	}
	if code := scrape(); code != http.StatusServiceUnavailable {
		t.Errorf("one scrape too many is answered %d, want 503", code)
	}
	close(s.release)
	for range limit {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("a scrape within the limit is answered %d", code)
		}
	}
}

// broken is a collector whose metric cannot be gathered.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(chan<- *prometheus.Desc) {}

func (b broken) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.NewInvalidMetric(b.desc, http.ErrBodyNotAllowed)
}

func TestPartialPageIsServedAndLogged(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	r.Registry().MustRegister(broken{prometheus.NewDesc("broken", "Broken.", nil, nil)})
	if page := r.Page(); !strings.Contains(page, "process_uptime_seconds{") {
		t.Errorf("one broken collector empties the page:\n%s", page)
	}
	logs := r.Logs()
	if len(logs) != 1 || logs[0]["msg"] != "metrics page is incomplete" || logs[0]["level"] != "ERROR" {
		t.Errorf("logs %v, want one error", logs)
	}
}

// exemplars returns each exemplar of a page as its labels, by the series it stands at. A label set of OpenMetrics 1.0
// has at most 128 characters, names and values counted together.
func exemplars(t *testing.T, page string) map[string]map[string]string {
	t.Helper()
	label := regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
	found := map[string]map[string]string{}
	for line := range strings.Lines(page) {
		series, exemplar, ok := strings.Cut(line, " # {")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		labels, characters := map[string]string{}, 0
		for _, match := range label.FindAllStringSubmatch(exemplar[:strings.LastIndex(exemplar, "}")], -1) {
			labels[match[1]] = match[2]
			characters += utf8.RuneCountInString(match[1]) + utf8.RuneCountInString(match[2])
		}
		if characters > 128 {
			t.Errorf("an exemplar of %d characters: %s", characters, line)
		}
		found[series[:strings.LastIndex(series, " ")]] = labels
	}
	return found
}

// The context that a measurement is made in can carry much; its exemplar carries the trace and the span.
func TestExemplarsAreOfTheTraceAlone(t *testing.T) {
	long := strings.Repeat("é\"\\", 100)
	for name, test := range map[string]struct {
		context   func(context.Context) context.Context
		attribute string
	}{
		"plain": {func(ctx context.Context) context.Context { return ctx }, "authorized"},
		"long":  {func(ctx context.Context) context.Context { return ctx }, long},
		"baggage": {func(ctx context.Context) context.Context {
			member, err := baggage.NewMemberRaw("tenant", strings.Repeat("b", 500))
			if err != nil {
				t.Fatal(err)
			}
			all, err := baggage.New(member)
			if err != nil {
				t.Fatal(err)
			}
			return baggage.ContextWithBaggage(ctx, all)
		}, "authorized"},
	} {
		t.Run(name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", ownMetrics())
			ctx, span := r.TracerProvider().Tracer("test").Start(test.context(t.Context()), strings.Repeat("name", 100),
				trace.WithAttributes(attribute.String("long", long)))
			defer span.End()
			counter, err := r.Instruments().Int64Counter("payments_total")
			if err != nil {
				t.Fatal(err)
			}
			histogram, err := r.Instruments().Float64Histogram(catalogue.KafkaConsumerRebalanceDuration)
			if err != nil {
				t.Fatal(err)
			}
			counter.Add(ctx, 1, metric.WithAttributes(attribute.String("status", test.attribute)))
			histogram.Record(ctx, 3)
			found := exemplars(t, r.OpenMetricsPage())
			for _, series := range []string{"payments_total", catalogue.KafkaConsumerRebalanceDuration + "_bucket"} {
				n := 0
				for s, labels := range found {
					if !strings.HasPrefix(s, series+"{") {
						continue
					}
					n++
					if len(labels) != 2 || labels["trace_id"] != span.SpanContext().TraceID().String() ||
						labels["span_id"] != span.SpanContext().SpanID().String() {
						t.Errorf("exemplar %v of %s, want the span's ids", labels, s)
					}
				}
				if n != 1 {
					t.Errorf("%d exemplars of %s, want 1", n, series)
				}
			}
			if found := exemplars(t, r.Page()); len(found) != 0 {
				t.Errorf("the text format has no exemplars, the page shows %v", found)
			}
		})
	}
}

// An exemplar would publish an amount to the cent, beside its trace: only times have one.
func TestAmountsAreNoExemplars(t *testing.T) {
	r := telemetrytest.New(t, "shop", append(ownMetrics(), telemetry.Metric{Name: "paid_euros_total", Kind: telemetry.Counter, Help: "Euros paid."},
		telemetry.Metric{Name: "worked_seconds_total", Kind: telemetry.Counter, Unit: "s", Help: "Time worked."}))
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	histogram, err := r.Instruments().Float64Histogram("order_amount_euros")
	if err != nil {
		t.Fatal(err)
	}
	histogram.Record(ctx, 79.37)
	for _, name := range []string{"paid_euros_total", "worked_seconds_total"} {
		counter, err := r.Instruments().Float64Counter(name)
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(ctx, 79.37)
	}
	found := exemplars(t, r.OpenMetricsPage())
	if _, ok := found[`worked_seconds_total{service="shop"}`]; len(found) != 1 || !ok {
		t.Errorf("exemplars %v, want the time's alone", found)
	}
	if r.Metric("order_amount_euros", nil) != 1 || r.Metric("paid_euros_total", nil) != 79.37 {
		t.Error("amounts are not measured")
	}
}

// A trace that a sampler left out cannot be opened: it is no exemplar.
func TestUnsampledTracesAreNoExemplars(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r := telemetrytest.New(t, "shop", ownMetrics())
	ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	histogram, err := r.Instruments().Float64Histogram(catalogue.KafkaConsumerRebalanceDuration)
	if err != nil {
		t.Fatal(err)
	}
	histogram.Record(ctx, 3)
	if found := exemplars(t, r.OpenMetricsPage()); len(found) != 0 {
		t.Errorf("exemplars %v", found)
	}
}

// Where spans go nowhere measurements still carry their trace's ids, which the logs have as well.
func TestExemplarsWithoutExporters(t *testing.T) {
	tel, _, _ := withTaker(t, telemetry.Config{Catalogue: ownMetrics()})
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	histogram, err := tel.Instruments().Float64Histogram(catalogue.KafkaConsumerRebalanceDuration)
	if err != nil {
		t.Fatal(err)
	}
	histogram.Record(ctx, 3)
	labels := exemplars(t, openMetricsPage(t, tel))[catalogue.KafkaConsumerRebalanceDuration+`_bucket{service="shop",le="5.0"}`]
	if labels["trace_id"] != span.SpanContext().TraceID().String() {
		t.Errorf("exemplar %v, want trace %v", labels, span.SpanContext().TraceID())
	}
}

func openMetricsPage(t *testing.T, tel *telemetry.Telemetry) string {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(answer, request)
	return answer.Body.String()
}

// Where the scraper says which service it is, the page does not.
func TestThePageWithoutTheServiceLabel(t *testing.T) {
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", OmitServiceLabel: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(context.Background()) }()
	answer := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if page := answer.Body.String(); strings.Contains(page, `service="`) || !strings.Contains(page, "\nprocess_uptime_seconds ") {
		t.Errorf("the page is\n%s", page)
	}
}

// An application's registry that has metrics already: both are on one page, what of the Go runtime and the process is there
// already is not there twice, and names that clash are refused, before Setup and after.
func TestAnApplicationsRegistry(t *testing.T) {
	counter := func(name string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "Ours."}, []string{"topic"})
		c.WithLabelValues("in").Inc()
		return c
	}
	for name, others := range map[string][]prometheus.Collector{
		"with the runtime's": {
			collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), counter("their_total"),
		},
		"without": {counter("their_total")},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(others...)
			for range 2 { // services may share it
				tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", Registry: registry})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
				families, err := tel.Gatherer().Gather()
				if err != nil {
					t.Fatal(err)
				}
				found := map[string]int{}
				for _, family := range families {
					found[family.GetName()] = len(family.GetMetric())
				}
				for _, want := range []string{"go_goroutines", "their_total", "process_uptime_seconds"} {
					if found[want] != 1 {
						t.Errorf("%s is on the page %d times", want, found[want])
					}
				}
			}
			if err := registry.Register(counter("kafka_messages_consumed_total")); err == nil {
				t.Error("a name of the library's is accepted after Setup")
			}
		})
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(counter("kafka_messages_consumed_total"))
	_, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", Registry: registry})
	if err == nil || !strings.Contains(err.Error(), "kafka_messages_consumed_total") {
		t.Errorf("error %v, want one that names the metric", err)
	}
}

// A name that the page has already is refused when it is registered.
func TestClashesWithTheLibraryAreRefusedAtOnce(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for name, c := range map[string]prometheus.Collector{
		"a documented name":     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "process_uptime_seconds", Help: "How long we are up."}, nil),
		"one with labels":       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_messages_consumed_total", Help: "Ours."}, []string{"topic"}),
		"the runtime's metrics": collectors.NewGoCollector(),
	} {
		if err := r.Registry().Register(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if got := strings.Count(r.Page(), "\ngo_goroutines{"); got != 1 {
		t.Errorf("go_goroutines is on the page %d times", got)
	}
}
