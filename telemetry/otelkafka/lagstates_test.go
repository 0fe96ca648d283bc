package otelkafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// handLog is the log of partition 0, made by hand: one letter for each offset from start on. r is a record, m a
// transaction's marker, a record of an aborted transaction, and a dot is an offset that compaction took out.
// The record at an offset is as many seconds after the epoch of lagTest's clock.
type handLog struct {
	start   int64
	entries string
	reach   int // how many offsets are looked at once, if not 0
	blind   error
	looks   []int64
	during  func() // runs while a look is on its way, if not nil
}

func (h *handLog) end() int64 { return h.start + int64(len(h.entries)) }

func (h *handLog) Offsets(_ context.Context, at int64, partitions []TopicPartition) (map[TopicPartition]int64, error) {
	offset := h.end()
	if at == sarama.OffsetOldest {
		offset = h.start
	}
	return map[TopicPartition]int64{partitions[0]: offset}, nil
}

func (h *handLog) FirstRecords(_ context.Context, from map[TopicPartition]int64) (map[TopicPartition]FirstRecord, error) {
	if h.during != nil {
		h.during()
	}
	if h.blind != nil {
		return nil, h.blind
	}
	offset := from[TopicPartition{"t", 0}]
	h.looks = append(h.looks, offset)
	for n := 0; offset < h.end() && (h.reach == 0 || n < h.reach); n++ {
		if h.entries[offset-h.start] == 'r' {
			return map[TopicPartition]FirstRecord{{"t", 0}: {Offset: offset, Found: true, Timestamp: recordTime(offset)}}, nil
		}
		offset++
	}
	return map[TopicPartition]FirstRecord{{"t", 0}: {Offset: offset}}, nil
}

// The clock stands this long after the record at offset 0.
const clockAt = 100 * time.Second

func recordTime(offset int64) time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(offset)*time.Second - clockAt)
}

// handTest is a tracker on a log made by hand.
type handTest struct {
	*lagTest
	log *handLog
}

func newHandTest(t *testing.T, log handLog) *handTest {
	t.Helper()
	h := &handTest{log: &log}
	h.lagTest = newLagTestOn(t, h.log)
	return h
}

// is sets the log and polls it.
func (h *handTest) is(after time.Duration, start int64, entries string) {
	h.t.Helper()
	h.log.start, h.log.entries = start, entries
	h.clock = h.clock.Add(after)
	if err := h.poll(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func TestLagOfABrokerState(t *testing.T) {
	tests := []struct {
		name       string
		start      int64
		log        string
		next       int64
		inProgress bool // the record at next is in the handler
		records    float64
		seconds    float64
	}{
		{name: "an empty topic"},
		{name: "all processed", log: "rrr", next: 3},
		{name: "from the oldest", start: 4, log: "rrr", next: sarama.OffsetOldest, records: 3, seconds: 96},
		{name: "from the newest", log: "rrr", next: sarama.OffsetNewest},
		{name: "paused", log: "rrrrr", next: 2, records: 3, seconds: 98},
		{name: "stuck in a handler", log: "rrrrr", next: 2, inProgress: true, records: 3, seconds: 98},
		{name: "stuck with the last record", log: "rrr", next: 2, inProgress: true, records: 1, seconds: 98},
		{name: "a marker at the end", log: "rrm", next: 2},
		{name: "markers of empty transactions at the end", log: "rmmm", next: 1},
		{name: "nothing but markers", log: "mm", next: sarama.OffsetOldest},
		{name: "an aborted transaction at the end", log: "rmaam", next: 2},
		{name: "a marker before records", log: "rmrr", next: 1, records: 2, seconds: 98},
		{name: "a marker after the record in progress", log: "rrm", next: 1, inProgress: true, records: 2, seconds: 99},
		{name: "markers between records count", log: "rmrmr", next: 0, records: 5, seconds: 100},
		{name: "compacted before the next record", log: "rr...rr", next: 2, records: 2, seconds: 95},
		{name: "compacted up to a marker", log: "rr....m", next: 2},
		{name: "truncated beyond the position", start: 10, log: "rrr", next: 4, records: 3, seconds: 90},
		{name: "truncated to the end", start: 10, next: 4},
		{name: "truncated to a marker", start: 10, log: "m", next: 4},
		{name: "truncated and compacted", start: 10, log: "..rr", next: 4, records: 2, seconds: 88},
		{name: "truncated, not as far as the position", start: 10, log: "rrrr", next: 12, records: 2, seconds: 88},
		{name: "truncated under the record in progress", start: 10, log: "rrr", next: 4, inProgress: true, records: 3, seconds: 96},
		{name: "nothing left but the record in progress", start: 10, next: 4, inProgress: true, records: 1, seconds: 96},
		{name: "ahead of a log created again", log: "rrr", next: 40},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHandTest(t, handLog{})
			h.Assign("t", 0, test.next)
			if test.inProgress {
				h.Advance("t", 0, test.next, recordTime(test.next))
			}
			h.is(0, test.start, test.log)
			h.page("first poll", test.records, test.seconds)
			if h.CaughtUp() != (test.records == 0) {
				t.Errorf("caught up: %v with %v records left", h.CaughtUp(), test.records)
			}
			h.is(7*time.Second, test.start, test.log)
			seconds := test.seconds
			if test.records > 0 {
				seconds += 7
			}
			h.page("standing still", test.records, seconds)
			h.Revoke("t", 0)
			h.page("revoked", -1, -1)
		})
	}
}

func TestLagThroughBrokerStates(t *testing.T) {
	tests := []struct {
		name string
		run  func(h *handTest)
	}{
		{"a stuck consumer's lag grows with the log", func(h *handTest) {
			h.Assign("t", 0, 1)
			h.Advance("t", 0, 1, recordTime(1))
			h.is(0, 0, "rr")
			h.page("stuck", 1, 99)
			h.is(10*time.Second, 0, "rrrrrr")
			h.page("still stuck", 5, 109)
			h.is(10*time.Second, 4, "rr")
			h.page("stuck while the log is cut", 2, 119)
			h.Advance("t", 0, 2, time.Time{})
			h.is(0, 4, "rr")
			h.page("free again", 2, 116)
		}},
		{"a paused consumer's lag grows from nothing", func(h *handTest) {
			h.Assign("t", 0, 2)
			h.is(0, 0, "rr")
			h.page("idle", 0, 0)
			h.is(10*time.Second, 0, "rrr")
			h.page("one", 1, 108)
			h.is(10*time.Second, 0, "rrrrm")
			h.page("more", 3, 118)
		}},
		{"transactions one after the other", func(h *handTest) {
			h.Assign("t", 0, 0)
			log := ""
			for next := int64(0); next < 30; next += 3 {
				h.is(time.Second, 0, log)
				h.page("all processed", 0, 0)
				log += "rrm"
				h.is(0, 0, log)
				if !h.CaughtUp() {
					h.t.Error("not caught up with the end at assignment")
				}
				h.Advance("t", 0, next+2, time.Time{})
			}
		}},
		{"a record after markers", func(h *handTest) {
			h.Assign("t", 0, 1)
			h.is(0, 0, "rm")
			h.page("marker", 0, 0)
			h.is(time.Second, 0, "rmr")
			h.page("record", 1, 99)
			h.Advance("t", 0, 2, recordTime(2))
			h.page("record in progress", 1, 99)
			h.Advance("t", 0, 3, time.Time{})
			h.page("processed", 0, 0)
		}},
		{"a consumer that goes back finds its records again", func(h *handTest) {
			h.Assign("t", 0, 3)
			h.is(0, 0, "rrrm")
			h.page("done", 0, 0)
			h.Advance("t", 0, 1, time.Time{})
			h.page("back", 3, 0)
			h.is(0, 0, "rrrm")
			h.page("looked again", 3, 99)
		}},
		{"a log created again is looked at again", func(h *handTest) {
			h.Assign("t", 0, 1)
			h.is(0, 0, "r....rr")
			h.page("first log", 2, 95)
			h.is(0, 0, "rrr")
			h.page("second log", 2, 99)
		}},
		{"a record found is deleted", func(h *handTest) {
			h.Assign("t", 0, 1)
			h.is(0, 0, "rrrrr")
			h.page("before", 4, 99)
			h.is(0, 3, "rr")
			h.page("after", 2, 97)
		}},
		{"aborted records further than one look goes", func(h *handTest) {
			h.log.reach = 4
			h.Assign("t", 0, 1)
			h.is(0, 0, "raaaaaaaam")
			h.page("one look", 5, 0)
			h.is(time.Second, 0, "raaaaaaaam")
			h.page("two looks", 1, 1)
			h.is(time.Second, 0, "raaaaaaaam")
			h.page("three looks", 0, 0)
		}},
		{"a log that cannot be looked into counts by offsets", func(h *handTest) {
			h.Assign("t", 0, 2)
			h.log.start, h.log.entries, h.log.blind = 0, "rrm", errors.New("no permission")
			if err := h.poll(h.t.Context()); !errors.Is(err, h.log.blind) {
				h.t.Errorf("the look's error is lost: %v", err)
			}
			h.page("blind", 1, 0)
			h.log.blind = nil
			h.is(time.Second, 0, "rrm")
			h.page("seeing", 0, 0)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHandTest(t, handLog{})
			test.run(h)
			h.r.CheckCatalogue()
		})
	}
}

func TestLagIsNotTakenFromARecordWithoutATime(t *testing.T) {
	for name, timestamp := range map[string]time.Time{"unset": time.Unix(0, 0), "of a batch without one": time.Time{}.Add(time.Second)} {
		t.Run(name, func(t *testing.T) {
			l := newLagTest(t)
			l.Assign("t", 0, 10)
			l.seen(0, 12)
			l.clock = l.clock.Add(3 * time.Second)
			l.Advance("t", 0, 10, timestamp)
			l.page("in progress", 2, 3)
		})
	}
}

func TestLagLooksAtALogOnlyWhereItMust(t *testing.T) {
	h := newHandTest(t, handLog{})
	h.Assign("t", 0, 0)
	steps := []struct {
		name string
		do   func()
		log  string
		want int // looks so far
	}{
		{"the first poll", func() {}, "rrm", 1},
		{"standing still before a record", func() {}, "rrmr", 1},
		{"the record is now in progress", func() { h.Advance("t", 0, 0, recordTime(0)) }, "rrmr", 1},
		{"another is in progress", func() { h.Advance("t", 0, 1, recordTime(1)) }, "rrmr", 1},
		{"none is in progress", func() { h.Advance("t", 0, 2, time.Time{}) }, "rrm", 2},
		{"standing still at the end", func() {}, "rrm", 2},
		{"the log grows", func() {}, "rrmr", 3},
		{"standing still again", func() {}, "rrmrr", 3},
	}
	for _, step := range steps {
		step.do()
		h.is(0, 0, step.log)
		if n := len(h.log.looks); n != step.want {
			t.Errorf("%s: %d looks, want %d (%v)", step.name, n, step.want, h.log.looks)
		}
	}
}

func TestLagIgnoresALookThatIsLate(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(h *handTest)
		records   float64
	}{
		"gone back":      {func(h *handTest) { h.Advance("t", 0, 0, time.Time{}) }, 4},
		"gone on":        {func(h *handTest) { h.Advance("t", 0, 4, time.Time{}) }, 0},
		"assigned again": {func(h *handTest) { h.Assign("t", 0, 0) }, -1},
		"revoked":        {func(h *handTest) { h.Revoke("t", 0) }, -1},
		"before the gap": {func(h *handTest) { h.Advance("t", 0, 2, time.Time{}) }, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHandTest(t, handLog{start: 0, entries: "r..r"})
			h.Assign("t", 0, 1)
			h.log.during = func() { test.meanwhile(h) }
			if err := h.poll(t.Context()); err != nil {
				t.Fatal(err)
			}
			seconds := test.records
			switch test.records {
			case 1:
				seconds = 97 // the record found
			case 4:
				seconds = 0 // just seen
			}
			h.page(name, test.records, seconds)
		})
	}
}
