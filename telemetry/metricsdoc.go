package telemetry

import (
	"fmt"
	"strconv"
	"strings"
)

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
				"records those of messaging, `telemetry.WithConventions()` that of HTTP. Off by default.",
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
