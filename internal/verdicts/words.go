package verdicts

import (
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
)

// words is a duration for people.
func words(d time.Duration) i18n.Text {
	switch {
	case d < 10*time.Minute:
		return i18n.Textf("%.0f s", d.Seconds())
	case d < 3*time.Hour:
		return i18n.Textf("%.0f min", d.Minutes())
	case d < 3*24*time.Hour:
		return i18n.Textf("%.0f h", d.Hours())
	default:
		return i18n.Textf("%.0f days", d.Hours()/24)
	}
}

// plural is one of two English sentences about a number.
func plural(n int64, one, many string) i18n.Text {
	if n == 1 {
		return i18n.Textf(one, n)
	}
	return i18n.Textf(many, n)
}

// offset is written without marks of thousands: people search for it.
func offset(n int64) string { return strconv.FormatInt(n, 10) }

// records counts offsets, which are records but for markers and what compaction
// took.
func records(n int64) i18n.Text { return plural(n, "%d record", "%d records") }

func deletedUnread(n int64) i18n.Text {
	return plural(n, "%d record was deleted unread", "%d records were deleted unread")
}

func because(said i18n.Text, why string) i18n.Text {
	if why == "" {
		return said
	}
	return i18n.Textf("%s: %s", said, i18n.Phrase(why))
}

// waiting says how much waits for the group, and for how long.
func (l *looked) waiting() i18n.Text {
	lag, known := l.last.Lag().Get()
	switch {
	case !known:
		return i18n.Textf("how much waits is not known")
	case l.last.nothingWaits():
		return i18n.Textf("nothing waits")
	}
	said := plural(lag, "%d record waits", "%d records wait")
	atLeast, atMost := l.ages()
	switch age, known := atMost.Get(); {
	case !known:
		return i18n.Textf("%s (the oldest for %s at least)", said, words(atLeast))
	case age == atLeast:
		return i18n.Textf("%s (the oldest for %s)", said, words(age))
	default:
		return i18n.Textf("%s (the oldest for %s at most)", said, words(age))
	}
}

// commits adds how often the group commits, where that says something.
func (l *looked) commits(said i18n.Text) i18n.Text {
	if 2*l.usual <= l.rules.Late {
		return said
	}
	return i18n.Textf("%s, it commits about every %s", said, words(l.usual))
}

// membership says who is there to read.
func (l *looked) membership() i18n.Text {
	g := l.last.group()
	members, known := g.Members.Get()
	switch {
	case !known:
		return i18n.Textf("with how many members is not known")
	case members == 0:
		return i18n.Textf("no members")
	case l.last.memberless():
		return plural(members, "%d member, which does not read this topic", "%d members, none of which reads this topic")
	}
	said := plural(members, "with %d member", "with %d members")
	if g.State != "" && g.State != "Stable" {
		return i18n.Textf("%s (%s)", said, g.State)
	}
	return said
}
