package verdicts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Value is a figure that may not be known. There are three cases: a known figure,
// zero or more; none, where it is known that there is none; and unknown. The zero
// Value is unknown, so that what nobody filled in is never taken for 0.
//
// In JSON a figure is a number (seconds for a duration), none is "none", and
// unknown is null or the field's absence.
type Value[T ~int64] struct{ raw T } // 0: unknown, -1: none, n+1: the figure n

type (
	// Number is an offset or a count.
	Number = Value[int64]
	// Span is a duration.
	Span = Value[time.Duration]
)

// Known returns a known figure. A negative one is a mistake of whoever measured
// it, and unknown.
func Known[T ~int64](figure T) Value[T] { return Value[T]{max(figure, -1) + 1} }

// None says that there is none: no committed offset, no unread record, no bound.
func None[T ~int64]() Value[T] { return Value[T]{-1} }

// Get returns the figure, and whether there is one and it is known.
func (v Value[T]) Get() (T, bool) { return v.raw - 1, v.raw > 0 }

// IsNone says whether it is known that there is none.
func (v Value[T]) IsNone() bool { return v.raw == -1 }

// IsZero says whether nothing is known.
func (v Value[T]) IsZero() bool { return v.raw == 0 }

// String is for people: the figure, "none" or "unknown".
func (v Value[T]) String() string {
	figure, known := v.Get()
	switch {
	case known:
		return fmt.Sprint(figure)
	case v.IsNone():
		return "none"
	default:
		return "unknown"
	}
}

// MarshalJSON writes the figure.
func (v Value[T]) MarshalJSON() ([]byte, error) {
	figure, known := v.Get()
	switch {
	case v.IsNone():
		return []byte(`"none"`), nil
	case !known:
		return []byte("null"), nil
	}
	if d, ok := any(figure).(time.Duration); ok {
		return json.Marshal(d.Round(time.Millisecond).Seconds())
	}
	return json.Marshal(int64(figure))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value[T]) UnmarshalJSON(text []byte) error {
	if bytes.Equal(text, []byte("null")) {
		*v = Value[T]{}
		return nil
	}
	if bytes.Equal(text, []byte(`"none"`)) {
		*v = None[T]()
		return nil
	}
	var figure T
	if _, ok := any(figure).(time.Duration); ok {
		var seconds float64
		if err := json.Unmarshal(text, &seconds); err != nil {
			return fmt.Errorf("want seconds, \"none\" or null: %w", err)
		}
		if !(seconds >= 0 && seconds < maxSeconds) {
			return fmt.Errorf("want seconds from 0 to %d, have %v", int64(maxSeconds), seconds)
		}
		*v = Known(T(seconds * float64(time.Second)))
		return nil
	}
	var whole int64
	if err := json.Unmarshal(text, &whole); err != nil {
		return fmt.Errorf("want a whole number, \"none\" or null: %w", err)
	}
	if whole < 0 || whole > maxNumber {
		return fmt.Errorf("want a number from 0 to %d, have %d", int64(maxNumber), whole)
	}
	*v = Known(T(whole))
	return nil
}

const (
	maxSeconds = 1e9     // some 31 years
	maxNumber  = 1 << 62 // so that sums and differences do not overflow
)

// Nobody is the owner of a partition that is known to have none.
const Nobody = "none"

// Topic is what one round knew of a topic. Samples of one topic may share it.
type Topic struct {
	// ID is the topic's id, "" where it is not known. Another id is another topic.
	ID string `json:"id,omitempty"`
	// Retention is how long records are kept, none for ever.
	Retention Span `json:"retentionSeconds,omitzero"`
	// RetentionBytes is how much is kept of a partition, none for all.
	RetentionBytes Number `json:"retentionBytes,omitzero"`
}

// Group is what one round knew of a group as far as one topic is concerned. The
// samples of a topic's partitions may share it.
type Group struct {
	// State is the group's state as Kafka says it (Stable, Empty,
	// PreparingRebalance, Reconciling, …), "" where it is not known.
	State string `json:"state,omitempty"`
	// Type is classic, consumer (KIP-848) or share, "" where it is not known.
	Type string `json:"type,omitempty"`
	// Members is how many members the group has.
	Members Number `json:"members,omitzero"`
	// Readers is how many of them own a partition of the topic. 0 where the group
	// has members is a topic that it no longer reads.
	Readers Number `json:"readers,omitzero"`
	// ReadsUncommitted says that the group was named as one that does not wait for
	// transactions; from outside nobody can see it.
	ReadsUncommitted bool `json:"readsUncommitted,omitempty"`
}

// Sample is what one round saw of one partition that one group reads. The end is
// to be asked after the committed offset, so that a moving consumer is never seen
// beyond it.
type Sample struct {
	// At is when the partition's end was answered, by the watcher's clock.
	At time.Time `json:"at"`
	// Topic and Group are nil where nothing is known of them.
	Topic *Topic `json:"topic,omitempty"`
	Group *Group `json:"group,omitempty"`
	// Oldest is the log's first offset, Stable its last stable offset (where
	// readers of committed records end), End its high watermark.
	Oldest Number `json:"oldest,omitzero"`
	Stable Number `json:"stable,omitzero"`
	End    Number `json:"end,omitzero"`
	// Committed is the group's offset: the next one that it will process; none
	// where the group has committed nothing or its commit has expired.
	Committed Number `json:"committed,omitzero"`
	// FirstUnread is the age of the first data record that the group has not
	// processed; none where there is no such record, as behind the last one or
	// where only markers of transactions are left.
	FirstUnread Span `json:"firstUnreadAgeSeconds,omitzero"`
	// LastRecord is the age of the partition's last data record, none where the
	// log is empty.
	LastRecord Span `json:"lastRecordAgeSeconds,omitzero"`
	// Owner is the member that owns the partition, in the words of the group's
	// description (such as its client id and host); Nobody where it is known that
	// none does, "" where it is not known.
	Owner string `json:"owner,omitempty"`
	// Why says why something above is not known.
	Why string `json:"why,omitempty"`
}

// group and topic return what is known, never nil.
func (s *Sample) group() Group {
	if s.Group == nil {
		return Group{}
	}
	return *s.Group
}

func (s *Sample) topic() Topic {
	if s.Topic == nil {
		return Topic{}
	}
	return *s.Topic
}

// Readable is where the group's reading ends: the last stable offset, or the high
// watermark for a group that is named as, or shows itself to be, one that reads
// uncommitted records too.
func (s *Sample) Readable() Number {
	committed, known := s.Committed.Get()
	stable, stableKnown := s.Stable.Get()
	if s.group().ReadsUncommitted || known && stableKnown && committed > stable {
		return s.End
	}
	return s.Stable
}

// Lag is how many offsets the group has not processed: from its committed offset,
// or the log's start where that is later, to where its reading ends. It is unknown
// where one of them is, where nothing is committed, and where the commit lies beyond the end.
func (s *Sample) Lag() Number {
	committed, known := s.Committed.Get()
	end, endKnown := s.Readable().Get()
	if !known || !endKnown || committed > end {
		return Number{}
	}
	oldest, _ := s.Oldest.Get()
	return Known(max(0, end-max(committed, oldest)))
}

// seen says whether the partition's end and the group's commit were.
func (s *Sample) seen() bool { return !s.End.IsZero() && !s.Committed.IsZero() }

// nothingWaits says whether it is known that no data record waits.
func (s *Sample) nothingWaits() bool {
	lag, known := s.Lag().Get()
	return known && (lag == 0 || s.FirstUnread.IsNone())
}

// memberless says whether it is known that nobody in the group reads the topic.
func (s *Sample) memberless() bool {
	members, known := s.group().Members.Get()
	readers, counted := s.group().Readers.Get()
	return known && members == 0 || counted && readers == 0 && s.group().State == "Stable"
}
