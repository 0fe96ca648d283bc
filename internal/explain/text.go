package explain

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vigie-dev/vigie/internal/duration"
)

// Text writes the report for people: what it means and whether it is so, what
// the queries find, whom it is about, what to do, and what to type next.
func (r Report) Text(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s\n", r.Name, r.Severity, r.stateText(now))
	for _, i := range r.Instances {
		fmt.Fprintf(&b, "  %s since %s (%s): %s\n", i.State, i.Since.UTC().Format(time.RFC3339), ago(now.Sub(i.Since)), i.Summary)
	}
	fmt.Fprintf(&b, "\nMEANING\n%s\n\nIMPACT\n%s\n", indent(r.Sections["Meaning"]), indent(r.Sections["Impact"]))
	r.writeAnswers(&b)
	r.writeBehind(&b)
	fmt.Fprintf(&b, "\nWHAT TO DO\n%s\n", indent(r.Sections["Fix"]))
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	if next := r.next(); len(next) > 0 {
		fmt.Fprintf(&b, "\nNEXT\n%s\n", indent(strings.Join(next, "\n")))
	}
	return b.String()
}

func (r Report) stateText(now time.Time) string {
	switch r.State {
	case Firing, Pending:
		oldest := now
		for _, i := range r.Instances {
			if i.State == r.State && i.Since.Before(oldest) {
				oldest = i.Since
			}
		}
		return r.State + " for " + duration.Text(now.Sub(oldest).Truncate(time.Second))
	case Inactive:
		return "does not fire"
	default:
		return "not known whether it fires: " + r.Why
	}
}

func (r Report) writeAnswers(b *strings.Builder) {
	for i, a := range r.Answers {
		if i == 0 {
			b.WriteString("\nQUERIES\n")
		}
		fmt.Fprintf(b, "  %s\n", a.Query)
		if a.Comment != "" {
			fmt.Fprintf(b, "  # %s\n", a.Comment)
		}
		switch {
		case a.Error != "":
			fmt.Fprintf(b, "    %s\n", a.Error)
		case len(a.Samples) == 0:
			b.WriteString("    no data\n")
		}
		table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		for _, s := range a.Samples {
			value := "not a number"
			if s.Value != nil {
				value = strconv.FormatFloat(*s.Value, 'g', 6, 64)
			}
			fmt.Fprintf(table, "    %s\t%s\n", sorted(s.Labels), value)
		}
		_ = table.Flush() // into memory
		if a.Left > 0 {
			fmt.Fprintf(b, "    … and %d more\n", a.Left)
		}
	}
}

func (r Report) writeBehind(b *strings.Builder) {
	if len(r.Partitions)+len(r.Orders) > 0 {
		b.WriteString("\nBEHIND IT\n")
	}
	for _, p := range r.Partitions {
		behind := time.Duration(p.Seconds * float64(time.Second))
		fmt.Fprintf(b, "  group %s, partition %s/%s: %s behind\n", p.Group, p.Topic, p.Partition, duration.Text(behind.Round(time.Second)))
	}
	for _, o := range r.Orders {
		fmt.Fprintf(b, "  %s", o.ID)
		if o.Letter != "" {
			fmt.Fprintf(b, ", dead letter %s (%s)", o.Letter, o.Reason)
		}
		if o.Trace != "" {
			fmt.Fprintf(b, ", trace %s", o.Trace)
		}
		b.WriteString("\n")
	}
}

// next are commands to type, about the first that is named.
func (r Report) next() []string {
	var lines []string
	for _, o := range r.Orders[:min(1, len(r.Orders))] {
		if o.Letter != "" {
			lines = append(lines, "vigie dlq show "+o.Letter)
		}
		if o.ID != "" {
			lines = append(lines, "vigie trace "+o.ID)
		}
	}
	if r.State == Unknown {
		lines = append(lines, "vigie doctor")
	}
	return lines
}

func ago(d time.Duration) string { return duration.Text(d.Truncate(time.Second)) + " ago" }

// indent puts two spaces before each line.
func indent(text string) string {
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}
