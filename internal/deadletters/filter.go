package deadletters

import (
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Topics returns the dead-letter topics.
func Topics() []string { return []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ} }

// Filter chooses letters. What is set must all apply; the zero value chooses
// every letter.
type Filter struct {
	IDs []record.Place
	// Topic is a dead-letter topic or one that letters come from.
	Topic  string
	Group  string
	Reason string
	Order  string // the record's key
	// Before and After bound when the letter was set aside; neither is included.
	Before, After time.Time
	// Open leaves out the letters that are resolved.
	Open bool
}

// Narrow says whether the filter asks for anything but openness: without, it
// chooses every letter that there is.
func (f Filter) Narrow() bool {
	return len(f.IDs) > 0 || f.Topic != "" || f.Group != "" || f.Reason != "" || f.Order != "" ||
		!f.Before.IsZero() || !f.After.IsZero()
}

// topics returns the dead-letter topics that can hold what the filter chooses.
func (f Filter) topics() []string {
	return slices.DeleteFunc(Topics(), func(topic string) bool {
		here := func(id record.Place) bool { return id.Topic == topic }
		return !is(f.Topic, topic) && banking.DeadLetterTopic(f.Topic) != topic ||
			len(f.IDs) > 0 && !slices.ContainsFunc(f.IDs, here)
	})
}

// matcher is a filter made ready for many letters. It does not look at
// resolutions, which are known only at the end.
type matcher struct {
	Filter
	ids map[record.Place]struct{}
}

func newMatcher(f Filter) matcher {
	m := matcher{Filter: f}
	if len(f.IDs) > 0 {
		m.ids = make(map[record.Place]struct{}, len(f.IDs))
		for _, id := range f.IDs {
			m.ids[id] = struct{}{}
		}
	}
	return m
}

func (m matcher) matches(l Letter) bool {
	if m.ids != nil {
		if _, ok := m.ids[l.ID]; !ok {
			return false
		}
	}
	return is(m.Group, l.Group) && is(m.Reason, l.Reason) && is(m.Order, l.Key) &&
		(is(m.Topic, l.ID.Topic) || m.Topic == l.Origin.Topic) &&
		(m.Before.IsZero() || l.FailedAt.Before(m.Before)) && (m.After.IsZero() || l.FailedAt.After(m.After))
}

// is compares with what was asked for, if anything.
func is(asked, got string) bool { return asked == "" || asked == got }
