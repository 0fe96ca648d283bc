package traces

import "github.com/vigie-dev/vigie/internal/record"

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
