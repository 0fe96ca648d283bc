// Package catalogue declares metrics as data and makes OpenTelemetry's instruments of the declarations.
//
// It exists apart from package telemetry so that who has a meter provider already gets the documented metrics from it
// without an SDK, an exporter or Prometheus: it needs OpenTelemetry's API and nothing else.
//
// catalogue.go says how a metric is declared, checked and documented; common.go declares the library's own;
// instruments.go makes instruments of declarations and keeps their series bounded; labels.go holds what they measure to
// the declared labels; registry.go writes the declarations down as OpenTelemetry's tools read them.
package catalogue

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kind is the type of a metric as Prometheus sees it.
type Kind int

// The kinds of metric.
const (
	Counter   Kind = iota + 1 // only goes up; its name ends in _total
	Gauge                     // goes up and down; read when the page is scraped
	Histogram                 // distribution over the buckets of the catalogue
)

// String returns the name of the kind as it stands in a # TYPE line.
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Histogram:
		return "histogram"
	default:
		return fmt.Sprintf("Kind(%d)", int(k))
	}
}

// LabelOther is the value of a label whose own is outside the known ones, or beyond those that there is room for.
const LabelOther = "_OTHER"

// ServiceLabel is the label that every series carries and that no caller sets: the registry adds it.
const ServiceLabel = "service"

// MaxLabelSets is the most label sets that one metric may have in one service. From the next one on,
// OpenTelemetry's SDK would fold what is new into a single series without labels.
const MaxLabelSets = 1999

// Metric declares one metric.
type Metric struct {
	Name        string    // exactly as in /metrics, for a histogram without _bucket, _sum and _count
	Kind        Kind      // Counter, Gauge or Histogram
	Sum         bool      // of a gauge: its sources add up (Instruments.Int64ObservableSum); an up-down counter in OpenTelemetry
	Help        string    // one sentence, without a newline
	Unit        string    // UCUM code ("s", "By", "EUR"), or "" for a plain number
	Labels      []string  // besides service
	Conditional []string  // those of Labels that a series lacks where they do not apply
	Buckets     []float64 // upper bounds, ascending, without +Inf; histograms only
	Bound       string    // why the label values are bounded; required when there are labels
	MaxSeries   int       // the most label sets there can be in one service; 0 if it is not stated
	Instrument  string    // its name in OpenTelemetry, where that does not follow from Name; see InstrumentName
	Documented  bool      // its name is a contract: renaming it breaks users
}

// Catalogue is a list of metrics.
type Catalogue []Metric

// Lookup returns the metric with that name.
func (c Catalogue) Lookup(name string) (Metric, bool) {
	i := slices.IndexFunc(c, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return c[i], true
}

// Names returns the names in the order of the catalogue.
func (c Catalogue) Names() []string {
	names := make([]string, len(c))
	for i, m := range c {
		names[i] = m.Name
	}
	return names
}

// Validate reports every declaration that Prometheus or this package could not honour.
func (c Catalogue) Validate() error {
	var errs []error
	seen := make(map[string]bool, len(c))
	taken := make(map[string]string, len(c))
	instruments := make(map[string]string, len(c))
	for _, m := range c {
		if seen[m.Name] {
			errs = append(errs, fmt.Errorf("metric %s is declared twice", m.Name))
			continue
		}
		seen[m.Name] = true
		for _, name := range m.openMetricsNames() {
			if other, ok := taken[name]; ok {
				errs = append(errs, fmt.Errorf("metric %s clashes with %s: OpenMetrics has the name %s for both", m.Name, other, name))
			}
			taken[name] = m.Name
		}
		if other, ok := instruments[m.InstrumentName()]; ok {
			errs = append(errs, fmt.Errorf("metric %s clashes with %s: both are %s in OpenTelemetry", m.Name, other, m.InstrumentName()))
		}
		instruments[m.InstrumentName()] = m.Name
		if err := m.validate(); err != nil {
			errs = append(errs, fmt.Errorf("metric %q: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}

// openMetricsNames returns the names that the metric takes on an OpenMetrics page: the family's, which for a counter
// is without _total, and those of the samples that its type may have.
func (m Metric) openMetricsNames() []string {
	family := strings.TrimSuffix(m.Name, "_total")
	switch m.Kind {
	case Counter:
		return []string{family, family + "_total", family + "_created"}
	case Histogram:
		return []string{family, family + "_bucket", family + "_count", family + "_sum", family + "_created"}
	default:
		return []string{m.Name}
	}
}

func (m Metric) validate() error {
	identifier := regexp.MustCompile(`^[a-z][a-zA-Z0-9]*(_[a-zA-Z0-9]+)*$`)
	var errs []error
	if !identifier.MatchString(m.Name) {
		errs = append(errs, errors.New("name is not in snake case"))
	}
	if m.Help == "" || strings.ContainsAny(m.Help, "\n\r") {
		errs = append(errs, errors.New("help must be one line"))
	}
	for i, label := range m.Labels {
		if !identifier.MatchString(label) || label == ServiceLabel || label == "le" || slices.Contains(m.Labels[:i], label) {
			errs = append(errs, fmt.Errorf("label %q is malformed, reserved or repeated", label))
		}
	}
	if len(m.Labels) > 0 && m.Bound == "" {
		errs = append(errs, errors.New("has labels but does not say what bounds their values"))
	}
	if m.MaxSeries < 0 || m.MaxSeries > MaxLabelSets {
		errs = append(errs, fmt.Errorf("at most %d series are stated; want 0 to %d", m.MaxSeries, MaxLabelSets))
	}
	for _, label := range m.Conditional {
		if !slices.Contains(m.Labels, label) {
			errs = append(errs, fmt.Errorf("conditional label %q is none of its labels", label))
		}
	}
	if wanted := suffix(m.Unit); wanted != "" && !strings.HasSuffix(strings.TrimSuffix(m.Name, "_total"), wanted) {
		errs = append(errs, fmt.Errorf("unit %q needs a name that ends in %s", m.Unit, wanted))
	}
	return errors.Join(append(errs, m.validateKind())...)
}

func (m Metric) validateKind() error {
	if m.Sum && m.Kind != Gauge {
		return errors.New("only gauges are declared as sums")
	}
	switch m.Kind {
	case Counter, Gauge:
		if len(m.Buckets) > 0 {
			return errors.New("only histograms have buckets")
		}
		if total := strings.HasSuffix(m.Name, "_total"); total != (m.Kind == Counter) {
			return errors.New("names of counters, and of nothing else, end in _total")
		}
	case Histogram:
		if len(m.Buckets) == 0 {
			return errors.New("histogram without buckets")
		}
		for i := 1; i < len(m.Buckets); i++ {
			if m.Buckets[i] <= m.Buckets[i-1] {
				return errors.New("buckets must ascend")
			}
		}
	default:
		return fmt.Errorf("unknown kind %d", int(m.Kind))
	}
	return nil
}

// suffix returns the ending that the Prometheus exporter derives from a unit it knows.
func suffix(unit string) string {
	switch unit {
	case "s":
		return "_seconds"
	case "By":
		return "_bytes"
	default:
		return ""
	}
}

// Section is one part of the reference of metrics, with a heading of its own.
type Section struct {
	Title     string
	Text      string // what the reader needs to know before the table; may be empty
	Catalogue Catalogue
}

// Sections returns the library's own parts of the reference: what every service has, then, apart, what a service
// has where it asks for it.
func Sections() []Section {
	return []Section{
		{Title: "Every service", Catalogue: Common()},
		{
			Title: "By option: semantic conventions",
			Text: "OpenTelemetry's semantic conventions 1.43.0, beside the documented metrics. `otelkafka.Options.Conventions` " +
				"records those of messaging, `otelhttpserver.WithConventions()` that of HTTP, and the variable " +
				"`OTEL_SEMCONV_STABILITY_OPT_IN` does so for a whole process. Off by default.",
			Catalogue: Conventions(),
		},
		{
			Title: "By option: the Kafka client",
			Text: "Read from sarama's own registry by `otelkafka.ObserveSarama`. Percentiles are of a sample of up to 1,028 " +
				"of a client's latest measurements, weighted towards the last five minutes of traffic: take their maximum, " +
				"never their sum or mean. Off by default.",
			Catalogue: SaramaMetrics(),
		},
	}
}

// Document renders the sections in their order, each under a heading of the second level.
func Document(sections ...Section) string {
	var b strings.Builder
	for i, s := range sections {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "## %s\n\n", s.Title)
		if s.Text != "" {
			b.WriteString(s.Text + "\n\n")
		}
		b.WriteString(Markdown(s.Catalogue))
	}
	return b.String()
}

// Markdown renders the reference table of the catalogues given, in their order: one row per metric. A metric
// declared in several appears once, as declared first. The column series is the most label sets in one service.
func Markdown(catalogues ...Catalogue) string {
	var b strings.Builder
	b.WriteString("| name | type | labels | buckets | unit | bound | series | help |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	seen := make(map[string]bool)
	for _, catalogue := range catalogues {
		for _, m := range catalogue {
			if !seen[m.Name] {
				seen[m.Name] = true
				b.WriteString(row(m))
			}
		}
	}
	return b.String()
}

func row(m Metric) string {
	name := "`" + m.Name + "`"
	if m.Instrument != "" {
		name += " (`" + m.Instrument + "`)"
	}
	series := ""
	switch {
	case m.MaxSeries > 0:
		series = strconv.Itoa(m.MaxSeries)
	case len(m.Labels) == 0:
		series = "1"
	}
	labels := append(append([]string(nil), m.Labels...), ServiceLabel)
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, m.Kind, cell(strings.Join(labels, ", ")),
		cell(buckets(m.Buckets)), cell(m.Unit), cell(m.Bound), series, cell(m.Help))
}

// buckets writes upper bounds as short as they can be read back.
func buckets(bounds []float64) string {
	words := make([]string, len(bounds))
	for i, bound := range bounds {
		words[i] = strconv.FormatFloat(bound, 'g', -1, 64)
	}
	return strings.Join(words, " ")
}

// cell keeps text from ending the table's cell or row.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}
