package audit

import (
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Extent is the part of a partition's log that has been read.
type Extent struct {
	Start int64     // where the log begins; above 0 where retention has cut it
	End   int64     // the first offset that was not asked for
	From  time.Time // of the first record after a cut; zero where there is none
}

// Extend says that the records of these spans are about to be added. A
// partition's spans follow each other.
func (l *Log) Extend(spans []kafka.Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range spans {
		if e, ok := l.extents[s.Partition]; ok {
			e.End = s.End
			continue
		}
		l.extents[s.Partition] = &Extent{Start: s.Start, End: s.End}
	}
}

// cut says whether retention has cut one of the topics.
func (l *Log) cut(topics ...string) bool {
	for p, e := range l.extents {
		if e.Start > 0 && slices.Contains(topics, p.Topic) {
			return true
		}
	}
	return false
}

// samePartition returns the partition in which the topic has the records of the
// same key, or -1 where it cannot be told.
func (l *Log) samePartition(topic string, at record.Place) int32 {
	n := map[string]int{}
	for p := range l.extents {
		n[p.Topic]++
	}
	if n[topic] != n[at.Topic] {
		return -1
	}
	return at.ID
}

// lostBefore says whether a record of that time may have been on the part of
// the topic's log that retention has cut. The partition narrows it down where
// it is known; -1 stands for any.
func (l *Log) lostBefore(topic string, partition int32, t time.Time) bool {
	for p, e := range l.extents {
		if p.Topic != topic || e.Start == 0 || partition >= 0 && p.ID != partition {
			continue
		}
		// An empty log may have held anything.
		if e.From.IsZero() || !t.After(e.From) {
			return true
		}
	}
	return false
}
