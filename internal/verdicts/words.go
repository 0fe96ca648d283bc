package verdicts

import (
	"fmt"
	"time"
)

// words is a duration for people.
func words(d time.Duration) string {
	switch {
	case d < 10*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 3*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 3*24*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// records counts offsets, which are records but for markers and what compaction
// took.
func records(n int64) string { return plural(n, "record", "records") }

func wereRecords(n int64) string { return plural(n, "record was", "records were") }

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// waiting says how much waits for the group, and for how long.
func (l *looked) waiting() string {
	lag, known := l.last.Lag().Get()
	switch {
	case !known:
		return "how much waits is not known"
	case l.last.nothingWaits():
		return "nothing waits"
	}
	said := plural(lag, "record waits", "records wait")
	if atLeast, atMost := l.ages(); atMost.IsZero() {
		said += fmt.Sprintf(" (the oldest for %s at least)", words(atLeast))
	} else if age, _ := atMost.Get(); age == atLeast {
		said += fmt.Sprintf(" (the oldest for %s)", words(age))
	} else {
		said += fmt.Sprintf(" (the oldest for %s at most)", words(age))
	}
	return said
}

// commits says how often the group commits, where that says something.
func (l *looked) commits() string {
	if 2*l.usual <= l.rules.Late {
		return ""
	}
	return fmt.Sprintf(", it commits about every %s", words(l.usual))
}

// membership says who is there to read.
func (l *looked) membership() string {
	g := l.last.group()
	members, known := g.Members.Get()
	switch {
	case !known:
		return "with how many members is not known"
	case members == 0:
		return "no members"
	case l.last.memberless():
		return plural(members, "member, which does not read", "members, none of which reads") + " this topic"
	}
	said := "with " + plural(members, "member", "members")
	if g.State != "" && g.State != "Stable" {
		said += " (" + g.State + ")"
	}
	return said
}
