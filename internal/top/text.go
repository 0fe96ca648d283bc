package top

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// Bounds of what a frame shows. The JSON form has all.
const (
	maxAlerts  = 8
	maxLetters = 5
	minWidth   = 40
)

// unknown stands where Prometheus knows nothing, none where nothing happened.
const (
	unknown = "?"
	none    = "–"
)

// Text writes a frame for people, in lines of at most width columns. It has
// colours, which the terminal's writer takes away where none are wanted.
func (f Frame) Text(width int) string {
	var b strings.Builder
	styles := newStyles()
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s  %s  %s", styles.heading.Render("vigie top"), f.At.Format("2006-01-02 15:04:05 UTC"), styles.faint.Render("from "+f.Prometheus))
	if f.Problem != "" {
		line("%s", styles.bad.Render(printable(f.Problem)))
	}
	line("")
	f.writeServices(line, styles)
	line("%s  %s accepted  %s refused  %s failed", styles.heading.Render("orders/s   "),
		perSecond(f.Orders.Accepted), perSecond(f.Orders.Refused), styles.above(0, f.Orders.Failed, perSecond(f.Orders.Failed)))
	line("%s  %s authorized  %s rejected", styles.heading.Render("decisions/s"),
		perSecond(f.Decisions.Authorized), perSecond(f.Decisions.Rejected))
	line("")
	f.writeLatency(line, styles)
	f.writeLag(line, styles)
	f.writeLetters(line, styles)
	f.writeAlerts(line, styles)
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i, text := range lines {
		lines[i] = ansi.Truncate(text, max(width, minWidth), "…")
	}
	return strings.Join(lines, "\n") + "\n"
}

func (f Frame) writeServices(line func(string, ...any), styles styles) {
	parts := make([]string, len(f.Services))
	for i, s := range f.Services {
		state := s.State
		switch state {
		case Ready:
			state = styles.good.Render(state)
		case Unknown:
			state = styles.faint.Render(unknown)
		default:
			state = styles.bad.Render(strings.ToUpper(state))
		}
		parts[i] = s.Service + " " + state
	}
	line("%s  %s", styles.heading.Render("services   "), strings.Join(parts, "  "))
	line("")
}

func (f Frame) writeLatency(line func(string, ...any), styles styles) {
	line("%s", styles.heading.Render(fmt.Sprintf("%-22s %9s %9s %9s %9s", "took, last 5 min", "per s", "p50", "p95", "p99")))
	for _, l := range f.Latency {
		quantile := func(v *float64) string {
			if v == nil && l.Rate != nil && *l.Rate == 0 {
				return none
			}
			return seconds(v)
		}
		line("%-22s %9s %9s %9s %9s", l.Of, perSecond(l.Rate), quantile(l.P50), quantile(l.P95), quantile(l.P99))
	}
	line("")
}

// writeLag has a line for each group and topic.
func (f Frame) writeLag(line func(string, ...any), styles styles) {
	line("%s", styles.heading.Render(fmt.Sprintf("%-14s %-22s %9s %9s", "lag", "of", "records", "oldest")))
	for _, l := range f.Lag {
		topic := l.Topic
		if topic == "" {
			topic = unknown
		}
		oldest := fmt.Sprintf("%9s", seconds(l.Seconds)) // before it has a colour, which has a length of its own
		line("%-14s %-22s %9s %s", l.Group, printable(topic), number(l.Records, "%.0f"), styles.above(lagAge, l.Seconds, oldest))
	}
	line("")
}

func (f Frame) writeLetters(line func(string, ...any), styles styles) {
	heading := styles.heading.Render("dead letters, last 10 min")
	switch {
	case f.DeadLetters == nil:
		line("%s  %s", heading, unknown)
	case len(*f.DeadLetters) == 0:
		line("%s  none", heading)
	default:
		line("%s", heading)
		for i, l := range *f.DeadLetters {
			if i == maxLetters {
				line("  and %d more", len(*f.DeadLetters)-i)
				break
			}
			line("  %s %s, from %s, by %s", styles.warn.Render(fmt.Sprintf("%.0f", l.Count)), printable(l.Reason), printable(l.Topic), printable(l.Service))
		}
	}
	line("")
}

func (f Frame) writeAlerts(line func(string, ...any), styles styles) {
	heading := styles.heading.Render("alerts")
	switch {
	case f.Alerts == nil:
		line("%s  %s", heading, unknown)
	case len(*f.Alerts) == 0:
		line("%s  none", heading)
	default:
		line("%s", heading)
		for i, a := range *f.Alerts {
			if i == maxAlerts {
				line("  and %d more", len(*f.Alerts)-i)
				break
			}
			style := styles.faint
			if a.Firing() {
				style = styles.warn
				if a.Severity == "critical" {
					style = styles.bad
				}
			}
			line("  %s %s, %s for %s: %s", style.Render(printable(a.Severity)), printable(a.Name), a.State,
				max(0, f.At.Sub(a.Since)).Truncate(time.Second), printable(a.Summary))
		}
	}
}

func perSecond(v *float64) string { return number(v, "%.2f") }

func number(v *float64, format string) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprintf(format, *v)
}

// seconds writes a duration as people say it.
func seconds(v *float64) string {
	switch {
	case v == nil:
		return unknown
	case *v == 0:
		return "0 s"
	case *v < 0.01:
		return fmt.Sprintf("%.1f ms", *v*1000)
	case *v < 1:
		return fmt.Sprintf("%.0f ms", *v*1000)
	case *v < 120:
		return fmt.Sprintf("%.1f s", *v)
	default:
		return fmt.Sprintf("%.0f min", *v/60)
	}
}

// printable takes out what a terminal could obey: labels hold whatever somebody
// sent.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '.'
		}
		return r
	}, ansi.Strip(text))
}

// styles are the colours of a frame: those of the terminal's own palette, so that
// they are readable on light and dark. Nothing is said by a colour alone.
type styles struct{ heading, good, warn, bad, faint lipgloss.Style }

func newStyles() styles {
	style := lipgloss.NewStyle
	return styles{
		heading: style().Bold(true), good: style().Foreground(lipgloss.Green), warn: style().Foreground(lipgloss.Yellow),
		bad: style().Foreground(lipgloss.Red).Bold(true), faint: style().Faint(true),
	}
}

// lagAge is from when on an age is drawn as trouble, as the alert ConsumerLagHigh
// has it.
const lagAge = 30

// above draws a text as trouble where its value is above what is usual.
func (s styles) above(usual float64, v *float64, text string) string {
	if v != nil && *v > usual {
		return s.warn.Render(text)
	}
	return text
}
