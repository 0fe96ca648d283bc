package otelkafka

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// fakeSource is a log that the test moves.
type fakeSource struct {
	mu           sync.Mutex
	starts, ends map[TopicPartition]int64
	err          error
	polls        int
	meanwhile    func() // runs during the call, if not nil
}

func (f *fakeSource) Offsets(_ context.Context, at int64, partitions []TopicPartition) (map[TopicPartition]int64, error) {
	if f.meanwhile != nil {
		f.meanwhile()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	from := f.ends
	if at == sarama.OffsetOldest {
		from = f.starts
	}
	found := make(map[TopicPartition]int64)
	for _, p := range partitions {
		if offset, ok := from[p]; ok {
			found[p] = offset
		}
	}
	return found, f.err
}

func (f *fakeSource) set(err error, ends map[TopicPartition]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.ends = err, ends
}

func (f *fakeSource) polled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polls
}

// lagTest is a tracker on a fake log with a clock that stands still unless moved.
type lagTest struct {
	*Lag
	t      *testing.T
	r      *telemetrytest.Recorder
	source *fakeSource
	clock  time.Time
}

func newLagTest(t *testing.T) *lagTest {
	t.Helper()
	source := &fakeSource{}
	l := newLagTestOn(t, source)
	l.source = source
	return l
}

func newLagTestOn(t *testing.T, source OffsetSource) *lagTest {
	t.Helper()
	r, inst := newInstrumentation(t, Options{})
	l := &lagTest{t: t, r: r, clock: time.Unix(1_800_000_000, 0)}
	var err error
	if l.Lag, err = NewLagFrom(inst, source, time.Hour); err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return l.clock }
	return l
}

// seen moves the clock on and polls the ends given; a negative end is left out of the answer.
func (l *lagTest) seen(after time.Duration, end int64) {
	l.clock = l.clock.Add(after)
	ends := map[TopicPartition]int64{}
	if end >= 0 {
		ends[TopicPartition{"t", 0}] = end
	}
	l.source.set(nil, ends)
	if err := l.poll(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// page asserts the two gauges of partition 0; a negative value means that the series is absent.
func (l *lagTest) page(step string, records, seconds float64) {
	l.t.Helper()
	labels := map[string]string{"topic": "t", "partition": "0"}
	for name, want := range map[string]float64{catalogue.KafkaConsumerLag: records, catalogue.KafkaConsumerLagSeconds: seconds} {
		switch n := l.r.Series(name, labels); {
		case want < 0 && n != 0:
			l.t.Errorf("%s: %s is on the page", step, name)
		case want >= 0 && n != 1:
			l.t.Errorf("%s: %s is not on the page", step, name)
		case want >= 0:
			if got := l.r.Metric(name, labels); got != want {
				l.t.Errorf("%s: %s is %v, want %v", step, name, got, want)
			}
		}
	}
}

func TestLag(t *testing.T) {
	const absent = -1
	now := time.Unix(1_800_000_000, 0)
	tests := []struct {
		name string
		run  func(l *lagTest)
	}{
		{"a stuck consumer's lag and age grow", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.page("before the first poll", absent, absent)
			l.seen(0, 13)
			l.page("first end", 3, 0)
			l.seen(5*time.Second, 20)
			l.page("stuck", 10, 5)
			l.seen(5*time.Second, 20)
			l.page("still stuck", 10, 10)
		}},
		{"a partition that is processed to its end has none", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 13)
			l.seen(time.Minute, 13)
			l.Advance("t", 0, 13, time.Time{})
			l.page("done", 0, 0)
		}},
		{"lag is never negative", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 12)
			l.Advance("t", 0, 15, time.Time{})
			l.page("ahead of the poll", 0, 0)
			l.seen(time.Second, 16)
			l.page("poll caught up", 1, 0)
		}},
		{"age follows the oldest record, not the first lag", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 11)
			l.seen(10*time.Second, 12)
			l.seen(10*time.Second, 13)
			l.page("three left", 3, 20)
			l.Advance("t", 0, 11, time.Time{})
			l.page("two left", 2, 10)
			l.Advance("t", 0, 12, time.Time{})
			l.page("one left", 1, 0)
		}},
		{"a record in progress has its own age", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 11)
			l.Advance("t", 0, 10, now.Add(-90*time.Second))
			l.page("in progress", 1, 90)
			l.Advance("t", 0, 11, now.Add(-30*time.Second))
			l.page("in progress before the poll knows it", 1, 30)
			l.Advance("t", 0, 12, time.Time{})
			l.page("nothing in progress", 0, 0)
		}},
		{"a record in progress counts before any poll", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.Advance("t", 0, 10, now.Add(-time.Second))
			l.page("no end known", 1, 1)
		}},
		{"a record from the future has no negative age", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 11)
			l.Advance("t", 0, 10, now.Add(time.Hour))
			l.page("future", 1, 0)
			l.seen(7*time.Second, 12)
			l.page("it ages by our clock", 2, 7)
		}},
		{"a record without a time ages by our clock", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 11)
			for _, none := range []time.Time{{}, time.UnixMilli(-1), time.UnixMilli(0)} {
				l.Advance("t", 0, 10, none)
				l.page("none", 1, 0)
			}
			l.seen(7*time.Second, 12)
			l.page("it ages by our clock", 2, 7)
		}},
		{"a revoked partition's series go away", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 12)
			l.page("assigned", 2, 0)
			l.Revoke("t", 0)
			l.page("revoked", absent, absent)
			l.Advance("t", 0, 12, time.Time{})
			l.page("late word of a revoked partition", absent, absent)
			l.Revoke("t", 0)
		}},
		{"an answer without the partition keeps the last end", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 12)
			l.seen(time.Second, absent)
			l.page("kept", 2, 1)
		}},
		{"a log created again is believed", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 12)
			l.seen(time.Second, 3)
			l.page("shorter", 0, 0)
			if !l.CaughtUp() {
				l.t.Error("cannot catch up with an end that is gone")
			}
		}},
		{"records of a log created again are new", func(l *lagTest) {
			l.Assign("t", 0, 0)
			l.seen(0, 10)
			l.seen(10*time.Second, 3)
			l.page("made again", 3, 0)
		}},
		{"from the oldest record", func(l *lagTest) {
			l.source.starts = map[TopicPartition]int64{{"t", 0}: 4}
			l.Assign("t", 0, sarama.OffsetOldest)
			l.page("unresolved", absent, absent)
			l.seen(0, 7)
			l.page("resolved", 3, 0)
		}},
		{"from the newest record", func(l *lagTest) {
			l.Assign("t", 0, sarama.OffsetNewest)
			l.seen(0, 7)
			l.page("resolved", 0, 0)
			l.seen(time.Second, 9)
			l.page("two more", 2, 0)
		}},
		{"a consumer that goes back has its lag back", func(l *lagTest) {
			l.Assign("t", 0, 10)
			l.seen(0, 12)
			l.Advance("t", 0, 12, time.Time{})
			l.Advance("t", 0, 10, time.Time{})
			l.page("back", 2, 0)
			l.seen(time.Second, 12)
			l.clock = l.clock.Add(4 * time.Second)
			l.page("back and stuck", 2, 4)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLagTest(t)
			test.run(l)
			l.r.CheckCatalogue()
		})
	}
}

// TestLagAgeIsBounded polls far more often than ends are remembered, with next standing still, then moving.
func TestLagAgeIsBounded(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 0)
	const polls = 20 * maxSightings
	for end := int64(1); end <= polls; end++ {
		l.seen(time.Second, end)
	}
	l.page("stuck", polls, polls-1)
	if n := len(l.parts[TopicPartition{"t", 0}].seen); n > maxSightings {
		t.Errorf("%d ends are remembered", n)
	}
	last := float64(polls)
	for next := int64(1); next < polls; next += 7 {
		l.Advance("t", 0, next, time.Time{})
		age := l.r.Metric(catalogue.KafkaConsumerLagSeconds, nil)
		if exact := float64(polls - 1 - next); age > last || age > exact {
			t.Fatalf("at %d the age is %v; it was %v and is %v to the record", next, age, last, exact)
		}
		last = age
	}
}

func TestLagIgnoresAnswersForAnEarlierAssignment(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 10)
	l.source.meanwhile = func() {
		l.source.meanwhile = nil
		l.Revoke("t", 0)
		l.Assign("t", 0, 100)
	}
	l.seen(0, 12)
	l.page("stale answer", -1, -1)
	l.seen(0, 104)
	l.page("answer", 4, 0)
}

func TestLagKeepsTheLastEndWhenAPollFails(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 10)
	l.seen(0, 12)
	l.source.set(errors.New("no broker"), nil)
	l.clock = l.clock.Add(3 * time.Second)
	if err := l.poll(t.Context()); err == nil {
		t.Error("the poll's error is lost")
	}
	l.page("failed poll", 2, 3)
	l.seen(time.Second, 14)
	l.page("next poll", 4, 4)
}

func TestLagTakesPartOfAnAnswer(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 10)
	l.Assign("t", 1, 10)
	l.source.set(errors.New("partition 1 has no leader"), map[TopicPartition]int64{{"t", 0}: 12})
	if err := l.poll(t.Context()); err == nil {
		t.Error("the poll's error is lost")
	}
	l.page("known half", 2, 0)
	if n := l.r.Series(catalogue.KafkaConsumerLag, nil); n != 1 {
		t.Errorf("%d partitions are on the page, want 1", n)
	}
}

func TestCaughtUp(t *testing.T) {
	l := newLagTest(t)
	want := func(step string, want bool) {
		t.Helper()
		if got := l.CaughtUp(); got != want {
			t.Errorf("%s: caught up %v, want %v", step, got, want)
		}
	}
	want("nothing assigned", true)
	l.Assign("t", 0, 10)
	want("end unknown", false)
	l.seen(0, 12)
	want("behind", false)
	l.seen(0, 20)
	l.Advance("t", 0, 12, time.Time{})
	want("the end at assignment is reached, a later one is not", true)
	l.Assign("t", 1, 0)
	want("one more partition", false)
	if l.Assigned() != 2 {
		t.Errorf("%d partitions assigned, want 2", l.Assigned())
	}
	l.Revoke("t", 1)
	want("that one revoked", true)
}

func TestLagIgnoresAnOffsetThatIsNone(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 10)
	l.seen(0, 12)
	l.source.set(nil, map[TopicPartition]int64{{"t", 0}: -1})
	if err := l.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.page("no offset", 2, 0)
}

func TestLagAdvancesWithoutAllocating(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 0)
	next := int64(0)
	if n := testing.AllocsPerRun(100, func() { next++; l.Advance("t", 0, next, l.clock) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewLagRefusesAnInterval(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	for _, interval := range []time.Duration{0, -time.Second} {
		if _, err := NewLagFrom(inst, &fakeSource{}, interval); err == nil {
			t.Errorf("interval %v is accepted", interval)
		}
	}
}

func TestLagClose(t *testing.T) {
	l := newLagTest(t)
	l.Assign("t", 0, 10)
	l.seen(0, 12)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.page("closed", -1, -1)
}

// run starts Run and returns the function that stops it and waits.
func run(t *testing.T, l *Lag) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

func TestRunPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, inst := newInstrumentation(t, Options{})
		source := &fakeSource{}
		l, err := NewLagFrom(inst, source, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		want := func(step string, polls int) {
			t.Helper()
			synctest.Wait()
			if got := source.polled(); got != polls {
				t.Errorf("%s: %d polls so far, want %d", step, got, polls)
			}
		}
		stop := run(t, l)
		want("nothing to ask about", 0)
		l.Assign("t", 0, 0)
		want("an assignment", 1)
		l.Assign("t", 1, 0)
		want("another", 2)
		<-time.After(time.Minute)
		want("the timer", 3)
		<-time.After(3 * time.Minute)
		want("the timer again", 6)
		stop()
		<-time.After(time.Hour)
		want("stopped", 6)
		run(t, l)
		want("begun again", 7)
	})
}

func TestRunLogsAFailureOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, inst := newInstrumentation(t, Options{})
		source := &fakeSource{err: errors.New("no broker")}
		l, err := NewLagFrom(inst, source, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		l.Assign("t", 0, 0)
		stop := run(t, l)
		<-time.After(3 * time.Minute)
		source.set(nil, nil)
		<-time.After(3 * time.Minute)
		stop()
		if got := source.polled(); got < 6 {
			t.Errorf("%d polls, want one each minute", got)
		}
		var messages []string
		for _, record := range r.Logs() {
			messages = append(messages, record["msg"].(string))
		}
		if got := strings.Join(messages, "; "); got != "log ends cannot be read: lag stands still; log ends can be read again" {
			t.Errorf("log: %s", got)
		}
	})
}

// Of more partitions than there is room for, the first stay on the page, those left out are counted, and a place that is left
// goes to the next, whichever tracker has it.
func TestLagsShareTheirRoom(t *testing.T) {
	r, inst := newInstrumentation(t, Options{})
	source := &fakeSource{ends: map[TopicPartition]int64{}}
	lags := map[string]*Lag{}
	for _, topic := range []string{"a", "b"} {
		lag, err := NewLagFrom(inst, source, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		lags[topic] = lag
		for partition := range int32(1000) {
			source.ends[TopicPartition{topic, partition}] = 10
			lag.Assign(topic, partition, 0)
		}
		lag.Assign(topic, 0, 0) // again: it has its place
	}
	want := func(when string, omitted, a, b int) {
		t.Helper()
		for _, lag := range lags {
			if err := lag.poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := [3]int{
			int(r.Metric(catalogue.KafkaConsumerLagOmitted, nil)),
			r.Series(catalogue.KafkaConsumerLag, map[string]string{"topic": "a"}),
			r.Series(catalogue.KafkaConsumerLag, map[string]string{"topic": "b"}),
		}
		if got != [3]int{omitted, a, b} {
			t.Errorf("%s: %v are left out, and of a and b shown; want %v", when, got, [3]int{omitted, a, b})
		}
	}
	want("all assigned", 500, 1000, 500)
	if r.Series(catalogue.KafkaConsumerLag, map[string]string{"topic": "b", "partition": "499"}) != 1 {
		t.Error("not the first are shown")
	}
	lags["a"].Revoke("a", 3)
	lags["a"].Revoke("a", 3)
	want("one revoked", 499, 999, 501)
	if r.Series(catalogue.KafkaConsumerLag, map[string]string{"topic": "b", "partition": "500"}) != 1 {
		t.Error("not the first that waits gets the place")
	}
	lags["b"].Revoke("b", 999)
	want("one that waited revoked", 498, 999, 501)
	if err := lags["a"].Close(); err != nil {
		t.Fatal(err)
	}
	delete(lags, "a")
	want("one tracker closed", 0, 0, 999)
	r.CheckCatalogue()
}
