package load

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/table"
)

// percent writes a share, with as many digits as tell it from all.
func percent(part float64) string {
	text := strconv.FormatFloat(part*100, 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + " %"
}

func bytesText(b float64) string { return fmt.Sprintf("%.0f MiB", b/(1<<20)) }

func millis(v float64) string { return fmt.Sprintf("%.1f", v) }

// Text is the report for people.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: requests for %v, seed %d, %s\n\n", r.Name, time.Duration(r.SendingSeconds*float64(time.Second)).Round(time.Second), r.Seed, r.Mix)
	b.WriteString(r.requestTable().Plain())
	b.WriteString("\nLatency is in milliseconds, of good answers, from when a request was due.\n\n")
	if r.Journeys.Followed > 0 {
		all := table.Table{Header: []string{"FOLLOWED ORDERS", "COUNT", "P50", "P90", "P99", "P99.9", "MAX"}}
		all.Add(quantileRow("201 to decided", r.Journeys.Decided)...)
		all.Add(quantileRow("201 to visible", r.Journeys.Visible)...)
		b.WriteString(all.Plain() + "\n")
	}
	if r.Knee != nil {
		b.WriteString(r.Knee.table().Plain() + "\n")
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "Broken on purpose: %s, %.0f s after the start, for %.0f s\n", f.Name, f.At, f.For)
	}
	for _, a := range r.Answers {
		fmt.Fprintf(&b, "%d times %s\n", a.Count, a.Answer)
	}
	for _, p := range r.Processes {
		fmt.Fprintf(&b, "CPU of %s: %.2f cores, at most %.2f\n", p.Name(), p.MeanCPU, p.PeakCPU)
	}
	if g := r.Generator; g.MeanCPU != nil {
		fmt.Fprintf(&b, "CPU of this generator: %.2f cores, at most %.2f; at most %d requests under way\n", *g.MeanCPU, *g.PeakCPU, g.Peak)
	}
	b.WriteString("\n" + r.checkTable().Plain())
	for _, limit := range r.Limits {
		b.WriteString("\n" + limit + "\n")
	}
	b.WriteString("\n" + r.Sentence() + "\n")
	return b.String()
}

// Sentence is the verdict in words.
func (r Report) Sentence() string {
	end := ""
	if r.Interrupted {
		end = " It was interrupted: this is the verdict on what had been sent."
	}
	if r.Passed {
		return "passed: the objectives held, and nothing was lost." + end
	}
	var failed, unknown []string
	for _, c := range r.Checks {
		switch c.State {
		case Failed:
			failed = append(failed, c.Name)
		case Unknown:
			unknown = append(unknown, c.Name)
		}
	}
	text := "not passed"
	if len(failed) > 0 {
		text += "; failed: " + strings.Join(failed, ", ")
	}
	if len(unknown) > 0 {
		text += "; not known: " + strings.Join(unknown, ", ")
	}
	return text + "." + end
}

func (r Report) requestTable() table.Table {
	all := table.Table{Header: []string{"REQUESTS", "DUE", "GOOD", "FAILED", "UNEXPECTED", "NOT SENT", "P50", "P90", "P99", "P99.9", "MAX"}}
	for _, k := range r.Requests {
		q := k.Latency
		all.Add(string(k.Kind), strconv.FormatInt(k.Due, 10), strconv.FormatInt(k.Good, 10), strconv.FormatInt(k.Failed, 10), strconv.FormatInt(k.Unexpected, 10),
			strconv.FormatInt(k.Unsent, 10), millis(q.P50), millis(q.P90), millis(q.P99), millis(q.P999), millis(q.Max))
	}
	return all
}

func (r Report) checkTable() table.Table {
	all := table.Table{Header: []string{"CHECK", "STATE", "WHY"}}
	for _, c := range r.Checks {
		all.Add(c.Name, string(c.State), c.Detail)
	}
	return all
}

func quantileRow(name string, q Quantiles) []string {
	return []string{name, strconv.FormatInt(q.Count, 10), millis(q.P50), millis(q.P90), millis(q.P99), millis(q.P999), millis(q.Max)}
}

func (k Knee) table() table.Table {
	all := table.Table{Header: []string{"RATE", "ORDERS", "GOOD", "IN TIME", "VISIBLE IN TIME", "P50", "P99", "HELD"}}
	for _, s := range k.Steps {
		held := "no"
		if s.Held {
			held = "yes"
		}
		all.Add(fmt.Sprintf("%.0f", s.Rate), strconv.FormatInt(s.Due, 10), percent(share(s.Good, s.Due)), percent(share(s.Fast, s.Good)),
			percent(share(s.Followed-s.Late, s.Followed)), millis(s.Latency.P50), millis(s.Latency.P99), held)
	}
	return all
}
