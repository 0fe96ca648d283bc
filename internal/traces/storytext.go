package traces

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// storyText is the story that records tell, a line for each, limit of them at
// most; 0 is all.
func storyText(facts []Fact, limit int) string {
	entries := tell(facts, true)
	shown := entries
	if limit > 0 && limit < len(shown) {
		shown = shown[:limit]
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, len(gap), ' ', 0)
	for _, e := range shown {
		after := padLeft(period(e.Time.Sub(facts[0].Time)), timeWidth)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", after, e.writer(), e.guide+e.title(), e.Place, e.detail())
	}
	_ = table.Flush() // into memory
	var lines strings.Builder
	for line := range strings.Lines(b.String()) {
		lines.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if more := len(entries) - len(shown); more > 0 {
		fmt.Fprintf(&lines, "and %s more; --limit shows more of them\n", plural(more, "record"))
	}
	return lines.String()
}

// writer is who wrote the record; a replay is not commande's.
func (e entry) writer() string {
	if e.repeated == repeatedReplay {
		return "vigie dlq"
	}
	return e.Writer()
}

func (e entry) title() string {
	title := e.Kind
	switch e.Kind {
	case KindSetAside:
		title = "set aside: " + e.Reason
	case KindReplayed:
		title = "marked as replayed"
	case KindPurged:
		title = "purged"
	case KindUnreadable:
		title = "unreadable"
	}
	switch e.repeated {
	case repeatedReplay:
		title += ", replayed"
	case repeatedCopy:
		title += ", again"
	}
	return title
}

func (e entry) detail() string {
	if e.Kind != KindSetAside {
		return ""
	}
	detail := "tried " + plural(e.Attempts, "time")
	if e.resolved == "" {
		detail += ", waits"
	}
	return detail
}

// day writes when a story begins.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 MST") }
