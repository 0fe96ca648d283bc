package telemetry

import (
	"fmt"
	"strconv"
	"strings"
)

// Markdown renders the reference table of the catalogues given, in their order: one row per metric. A metric
// declared in several appears once, as declared first.
func Markdown(catalogues ...Catalogue) string {
	var b strings.Builder
	b.WriteString("| name | type | labels | buckets | unit | bound | help |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	seen := make(map[string]bool)
	for _, catalogue := range catalogues {
		for _, m := range catalogue {
			if !seen[m.Name] {
				seen[m.Name] = true
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", m.Name, m.Kind,
					cell(strings.Join(append(append([]string(nil), m.Labels...), ServiceLabel), ", ")),
					cell(buckets(m.Buckets)), cell(m.Unit), cell(m.Bound), cell(m.Help))
			}
		}
	}
	return b.String()
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
