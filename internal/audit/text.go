package audit

import (
	"fmt"
	"strings"
	"time"
)

// Text is the report for people: a short table, what has to be known to read
// it, and the differences.
func (r Report) Text() string {
	var b strings.Builder
	rows := r.rows()
	width := len(rows[0].sum.Amount.String())
	fmt.Fprintf(&b, "%-16s%10s  %*s\n", "", "orders", max(width, 10), "euros")
	for _, row := range rows {
		fmt.Fprintf(&b, "%-16s%10d  %*s\n", row.name, row.sum.Count, max(width, 10), row.sum.Amount)
	}
	b.WriteByte('\n')
	for _, line := range r.notes() {
		b.WriteString(line + "\n")
	}
	for i, d := range r.Differences {
		if i == 0 {
			fmt.Fprintf(&b, "\ndifferences: %d\n", r.DifferenceCount)
		}
		fmt.Fprintf(&b, "  %s%s\n", d.title(), d.Detail)
	}
	if more := r.DifferenceCount - int64(len(r.Differences)); more > 0 && len(r.Differences) > 0 {
		fmt.Fprintf(&b, "  and %d more; --limit shows more of them\n", more)
	}
	if r.AccountedFor {
		b.WriteString("\nevery order is accounted for once\n")
	}
	return b.String()
}

// title begins the line of a difference.
func (d Difference) title() string {
	if d.OrderID == "" {
		return d.Kind.Words() + ": "
	}
	return d.OrderID + " " + d.Kind.Words() + ": "
}

type row struct {
	name string
	sum  Sum
}

func (r Report) rows() []row {
	rows := []row{
		{"created", r.Created}, {"authorized", r.Authorized}, {"rejected", r.Rejected}, {"dead-lettered", r.DeadLettered},
		{"purged", r.Purged}, {"in flight", r.InFlight},
	}
	if r.CannotTell.Count > 0 {
		rows = append(rows, row{"cannot tell", r.CannotTell})
	}
	return append(rows, row{"unaccounted for", r.Unaccounted})
}

// notes are the lines that there is something to say in.
func (r Report) notes() (lines []string) {
	lines = append(lines, fmt.Sprintf("log: records read: %d", r.Records))
	for _, s := range r.Services {
		lines = append(lines, s.text())
	}
	for _, c := range r.Cut {
		from := "which is its end"
		if c.From != nil {
			from = "of " + c.From.Format(time.RFC3339)
		}
		lines = append(lines, fmt.Sprintf("cut: %s/%d can be told from offset %d on, %s", c.Topic, c.Partition, c.Offset, from))
	}
	lines = append(lines, counts("older than the log", count{r.OlderThanLog.Ledger, "ledger rows"}, count{r.OlderThanLog.Results, "results"},
		count{r.OlderThanLog.DeadLetters, "dead letters"}, count{r.OlderThanLog.Views, "views of suivi"},
		count{r.OlderThanLog.Transactions, "transactions of analyseur"})...)
	lines = append(lines, counts("republished under the same event id", count{r.Republished.Orders, "orders"},
		count{r.Republished.Results, "results"}, count{r.Republished.DeadLetters, "dead letters"})...)
	if u := r.Unreadable; u.Orders > 0 {
		lines = append(lines, fmt.Sprintf("unreadable records on orders.created: %d (%d dead-lettered, %d in flight)",
			u.Orders, u.OrdersDeadLettered, u.OrdersInFlight))
	}
	if n := r.Unreadable.Elsewhere; n > 0 {
		lines = append(lines, fmt.Sprintf("unreadable records on other topics: %d", n))
	}
	for _, d := range r.OtherDeadLetters {
		lines = append(lines, fmt.Sprintf("dead letters of %s, from %s, %s: %d waiting, %d replayed, %d purged",
			d.Group, d.Topic, d.Reason, d.Waiting, d.Replayed, d.Purged))
	}
	return lines
}

func (s Service) text() string {
	if !s.LookedAt {
		return fmt.Sprintf("%s: not looked at: %s", s.Name, s.Problem)
	}
	text := fmt.Sprintf("%s: records to read: %d", s.Name, s.Unread)
	if s.Outbox > 0 {
		text += fmt.Sprintf(", messages to publish: %d", s.Outbox)
	}
	return text
}

type count struct {
	n    int64
	what string
}

// counts makes one line of what is not zero, or none.
func counts(title string, all ...count) []string {
	var parts []string
	for _, c := range all {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.what, c.n))
		}
	}
	if parts == nil {
		return nil
	}
	return []string{title + ": " + strings.Join(parts, ", ")}
}
