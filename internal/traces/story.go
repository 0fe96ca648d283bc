package traces

import (
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

// tell puts each fact below what caused it.
//
// The trace context names the span that wrote a record, and no record names the
// span that read it: so it is the events' ids, the letters' origins and the
// places in the log that say what caused what. Times, which are of several
// clocks, only tell a replay from a copy: people replay later than a crash does.
//
// With brief, it leaves out the markers of replays that can be seen themselves.
func tell(facts []Fact, brief bool) []entry {
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

type story struct {
	facts   []Fact
	entries []entry
	places  map[record.Place]int
	failed  map[record.Place]bool // records that paiement has set aside
}
