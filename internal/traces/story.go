package traces

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Repetition of a record: the same event, written once more.
const (
	// repeatedReplay: a dead letter's record was published again.
	repeatedReplay = "replay"
	// repeatedCopy: a crash had it published twice; readers drop the second.
	repeatedCopy = "copy"
)

// entry is a fact in an order's story.
type entry struct {
	Fact
	// repeated is "" for what the log says for the first time.
	repeated string
	// resolved is what became of a dead letter: a marker's kind, or "".
	resolved string
	depth    int
	guide    string
}

// arrangeStory puts each fact below what caused it.
//
// The trace context names the span that wrote a record, and no record names the
// span that read it: so it is the events' ids, the letters' origins and the
// places in the log that say what caused what. Times, which are of several
// clocks, only distinguish a replay from a copy: people replay later than a
// crash does.
//
// With brief, it leaves out the markers of replays that can be seen themselves.
func arrangeStory(facts []Fact, brief bool) []entry {
	s := story{facts: facts, entries: make([]entry, len(facts)), places: map[record.Place]int{}, failed: map[record.Place]bool{}}
	for i, f := range facts {
		s.entries[i].Fact = f
		s.places[f.Place] = i
		if f.Kind == KindSetAside && f.Group == banking.GroupPaiement {
			s.failed[f.Origin] = true
		}
	}
	parents := make([]int, len(facts))
	for i, f := range facts {
		parents[i] = s.cause(i, f)
	}
	hidden := map[int]bool{}
	if brief {
		hidden = s.marked(parents)
	}
	out := make([]entry, 0, len(facts))
	for _, p := range arrange(parents, hidden) {
		e := s.entries[p.node]
		e.depth, e.guide = p.depth, p.guide
		out = append(out, e)
	}
	return out
}

type story struct {
	facts   []Fact
	entries []entry
	places  map[record.Place]int
	failed  map[record.Place]bool // records that paiement has set aside
}

// marked returns the markers of letters whose replays are among the entries.
func (s *story) marked(parents []int) map[int]bool {
	replayed := map[int]bool{}
	for i, e := range s.entries {
		if e.repeated == repeatedReplay {
			replayed[parents[i]] = true
		}
	}
	markers := map[int]bool{}
	for i, e := range s.entries {
		if e.Kind == KindReplayed && replayed[parents[i]] {
			markers[i] = true
		}
	}
	return markers
}

// cause returns what a fact follows from, or none, and notes what that says
// about the two.
func (s *story) cause(i int, f Fact) int {
	switch f.Kind {
	case KindCreated:
		return s.creation(i, f)
	case KindAuthorized, KindRejected:
		if s.earlier(f, func(o Fact) bool { return o.EventID == f.EventID }) != none {
			s.entries[i].repeated = repeatedCopy
		}
		return s.decided(f)
	case KindSetAside:
		if s.earlier(f, func(o Fact) bool { return o.Group == f.Group && o.Origin == f.Origin }) != none {
			s.entries[i].repeated = repeatedCopy
		}
		return s.at(f.Origin)
	case KindReplayed, KindPurged:
		letter := s.at(f.Origin)
		if letter != none {
			s.entries[letter].resolved = f.Kind
		}
		return letter
	default:
		return none
	}
}

func (s *story) at(place record.Place) int {
	if i, ok := s.places[place]; ok {
		return i
	}
	return none
}

// earlier finds a fact of the same kind that stands before this one in its
// partition.
func (s *story) earlier(f Fact, matches func(Fact) bool) int {
	for i, o := range s.facts {
		if o.Kind == f.Kind && o.Place.Topic == f.Place.Topic && o.Place.Offset < f.Place.Offset && matches(o) {
			return i
		}
	}
	return none
}

// creation returns none for an order's event, and for one that is published
// once more the letter that it was taken from: the one whose record stands
// last before it.
func (s *story) creation(i int, f Fact) int {
	first := s.earlier(f, func(o Fact) bool { return o.EventID == f.EventID })
	if first == none {
		return none
	}
	letter := none
	for n, o := range s.facts {
		before := o.Kind == KindSetAside && o.OriginalEventID == f.EventID && !o.Time.After(f.Time) &&
			o.Origin.Topic == f.Place.Topic && o.Origin.Offset < f.Place.Offset
		if before && (letter == none || o.Origin.Offset > s.facts[letter].Origin.Offset) {
			letter = n
		}
	}
	if letter == none {
		s.entries[i].repeated = repeatedCopy
		return first
	}
	s.entries[i].repeated = repeatedReplay
	return letter
}

// decided returns the record that a decision was made on: the first copy of
// the order's event that paiement did not set aside.
func (s *story) decided(f Fact) int {
	kept, last := none, none
	for i, o := range s.facts {
		if o.Kind != KindCreated || o.EventID != f.OriginalEventID {
			continue
		}
		if !s.failed[o.Place] && (kept == none || o.Place.Offset < s.facts[kept].Place.Offset) {
			kept = i
		}
		last = i
	}
	if kept != none {
		return kept
	}
	return last
}

// storyText is the story as the records have it, a line for each, limit of them at
// most; 0 is all.
func storyText(facts []Fact, limit int) string {
	entries := arrangeStory(facts, true)
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

// day writes when a story begins.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 MST") }

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
