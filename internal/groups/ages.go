package groups

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

const (
	// fetchPartitions and fetchBytes bound a request for the first records of
	// several partitions; wholeBytes is for one partition, whose first batch a
	// broker sends whole, however large it is (KIP-74).
	fetchPartitions = 32
	fetchBytes      = 48 << 10
	wholeBytes      = 1 << 20
	// wholeFetches bounds the requests for one partition, of each broker and round.
	wholeFetches = 32
	// forbiddenInterval is how long a topic is let be that the user may not read.
	forbiddenInterval = 10 * time.Minute
	// compactedInterval is how long a record of a compacted topic is taken for being there.
	compactedInterval = 30 * time.Second
	// keptRounds is how many rounds a record is remembered that nobody waits at.
	keptRounds = 3
)

// ages remembers what was found at which place, so that a group that does not move
// costs nothing.
type ages struct {
	found     map[spot]*sighting
	ends      map[logKey]*history
	forbidden map[string]time.Time // topics, until they are tried again
	round     int
	cursor    int // where the next round begins, so that all have their turn
}

// logKey is a log: of a topic that was made anew it is another one.
type logKey struct {
	topic     string
	id        [16]byte
	partition int32
}

// spot is where a group reads on.
type spot struct {
	logKey
	offset      int64
	uncommitted bool
}

// sighting is what is known of the first data record at or behind a spot.
type sighting struct {
	seen    time.Time // when it was first seen that there is something
	scanned int64     // before it there is no data record
	found   bool
	first   int64     // the record's offset
	fetched time.Time // when it was there
	written time.Time // the record's timestamp
	why     string    // why it is not known
	partial bool      // its batch did not come whole
	used    int       // in which round
}

// history is when a log was first seen to be how long. It is thinned: what is older
// is known less exactly.
type history struct {
	entries []endAt
	used    int
}

type endAt struct {
	at  time.Time
	end int64
}

const historyLimit = 16

func (h *history) add(at time.Time, end int64) {
	n := len(h.entries)
	if n > 0 && end < h.entries[n-1].end { // it was truncated
		h.entries, n = h.entries[:0], 0
	}
	if n > 0 && end == h.entries[n-1].end {
		return
	}
	if n == historyLimit {
		kept := h.entries[:0]
		for i, e := range h.entries {
			if i%2 == 0 || i >= historyLimit/2 {
				kept = append(kept, e)
			}
		}
		h.entries = kept
	}
	h.entries = append(h.entries, endAt{at, end})
}

// seen is since when at least there is something at an offset.
func (h *history) seen(offset int64, now time.Time) time.Time {
	for _, e := range h.entries {
		if e.end > offset {
			return e.at
		}
	}
	return now
}

// wanted is a reading whose first unprocessed record is asked for.
type wanted struct {
	*Reading
	at  spot
	to  int64 // where its reading ends
	age *sighting
}

// ages finds how old the first record is that each group has not processed. A
// record that was found once is not fetched again while the group stays there.
func (s *survey) ages(ctx context.Context) {
	m := &s.memory.ages
	m.round++
	all := s.unread()
	s.fetch(ctx, all)
	now := s.cfg.Now()
	for _, w := range all {
		w.settle(now)
	}
	maps.DeleteFunc(m.found, func(_ spot, a *sighting) bool { return m.round-a.used > keptRounds })
	maps.DeleteFunc(m.ends, func(_ logKey, h *history) bool { return m.round-h.used > keptRounds })
	maps.DeleteFunc(m.forbidden, func(_ string, until time.Time) bool { return now.After(until) })
}

// unread returns the readings that have something left to process.
func (s *survey) unread() (all []*wanted) {
	m := &s.memory.ages
	for _, g := range s.round.Groups {
		dirty := s.readsUncommitted(g.Name)
		for _, r := range g.Readings {
			lag, known := r.Lag.Get()
			if !known {
				continue
			}
			committed, _ := r.Committed.Get()
			oldest, _ := r.log.Oldest.Get()
			end, _ := r.log.End.Get()
			key := logKey{r.Topic, r.topic.ID, r.Partition}
			h := m.ends[key]
			if h == nil {
				h = &history{}
				m.ends[key] = h
			}
			h.used = m.round
			h.add(r.log.At, end)
			if lag == 0 {
				continue
			}
			from := max(committed, oldest)
			stable, _ := r.log.Stable.Get()
			at := spot{key, from, dirty || committed > stable}
			a := m.found[at]
			if a == nil {
				a = &sighting{seen: h.seen(from, r.log.At), scanned: from}
				m.found[at] = a
			}
			a.used = m.round
			if a.found && s.memory.retention[r.Topic].compacted && s.round.Started.Sub(a.fetched) >= compactedInterval {
				a.found, a.scanned = false, a.first // compaction may have taken it out
			}
			all = append(all, &wanted{r, at, from + lag, a})
		}
	}
	return all
}

// settle says what is known of a reading's first unprocessed record. Where nothing
// but markers and aborted records are left, nothing is.
func (w *wanted) settle(now time.Time) {
	switch {
	case w.age.found && w.age.first < w.to:
		w.first, w.Lag = w.age.first, verdicts.Known(w.to-w.age.first)
		w.Age = verdicts.Known(w.age.old(now))
	case w.age.found || w.age.scanned >= w.to:
		w.Lag, w.Age = verdicts.Known(int64(0)), verdicts.None[time.Duration]()
	default:
		w.Why = w.age.why
	}
}

// old is the record's age: by its timestamp, unless that lies in the future or says
// nothing, and at least for as long as it has been seen here.
func (a *sighting) old(now time.Time) time.Duration {
	age := max(0, now.Sub(a.seen))
	if a.written.UnixMilli() > 0 {
		age = max(age, now.Sub(a.written))
	}
	return age
}

// fetch asks for the records that are not known, as many as the limit allows.
func (s *survey) fetch(ctx context.Context, all []*wanted) {
	m := &s.memory.ages
	asked := map[spot]*wanted{}
	var due []*wanted
	for _, w := range all {
		if w.age.found || w.age.scanned >= w.to || asked[w.at] != nil {
			continue
		}
		if _, no := m.forbidden[w.Topic]; no {
			w.age.why = "the user may not read the topic"
			continue
		}
		w.age.why = "its first unprocessed record has not been fetched yet"
		asked[w.at] = w
		due = append(due, w)
	}
	if n := len(due); n > s.cfg.Limits.Ages {
		begin := m.cursor % n
		m.cursor = begin + s.cfg.Limits.Ages
		due = slices.Concat(due[begin:], due[:begin])[:s.cfg.Limits.Ages]
		s.round.LeftOut.Ages = n - len(due)
	}
	leaders := map[int32][]*wanted{}
	for _, w := range due {
		leaders[w.log.Leader] = append(leaders[w.log.Leader], w)
	}
	eachBroker(leaders, func(broker int32, due []*wanted) { s.fetchFrom(ctx, broker, due) })
}

// fetchFrom asks one leader: first for a little of many partitions, then for the
// whole of what did not come whole.
func (s *survey) fetchFrom(ctx context.Context, broker int32, due []*wanted) {
	left := wholeFetches
	for len(due) > 0 {
		var now, later []*wanted // a request takes a partition once
		inside := map[logKey]bool{}
		for _, w := range due {
			if len(now) == fetchPartitions || inside[w.at.logKey] || len(now) > 0 && now[0].at.uncommitted != w.at.uncommitted {
				later = append(later, w)
				continue
			}
			inside[w.at.logKey] = true
			now = append(now, w)
		}
		if !s.fetchSome(ctx, broker, now, fetchBytes) {
			return
		}
		due = later
		for _, w := range now {
			for w.age.partial && !w.age.found && w.age.scanned < w.to && left > 0 {
				left--
				if !s.fetchSome(ctx, broker, []*wanted{w}, wholeBytes) {
					return
				}
			}
		}
	}
}

// fetchSome sends one request, and says whether the broker answered.
func (s *survey) fetchSome(ctx context.Context, broker int32, some []*wanted, bytes int32) bool {
	request := kmsg.NewPtrFetchRequest()
	request.MaxBytes, request.SessionEpoch = max(bytes, int32(len(some))*fetchBytes), -1 //nolint:gosec // at most fetchPartitions
	if !some[0].at.uncommitted {
		request.IsolationLevel = committed
	}
	byLog := make(map[logKey]*wanted, len(some))
	for _, w := range some {
		w.age.partial = false
		byLog[w.at.logKey] = w
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = w.Topic, w.topic.ID
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.Partition, w.age.scanned, bytes
		t.Partitions = append(t.Partitions, p)
		request.Topics = append(request.Topics, t)
	}
	answer, err := ask[*kmsg.FetchResponse](ctx, s.asking, broker, request)
	if err != nil {
		return false
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		s.asking.fail(broker, "Fetch", err)
		return true
	}
	for _, t := range answer.Topics {
		topic := t.Topic
		if topic == "" {
			topic = s.ids[t.TopicID]
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if of := s.topics[topic]; of != nil && byLog[logKey{topic, of.ID, p.Partition}] != nil {
				s.take(ctx, broker, byLog[logKey{topic, of.ID, p.Partition}], p)
			}
		}
	}
	return true
}

// take reads what came of a partition. What a transaction aborted, and its markers,
// are no data to a reader of committed records.
func (s *survey) take(ctx context.Context, broker int32, w *wanted, of *kmsg.FetchResponseTopicPartition) {
	if err := kerr.ErrorForCode(of.ErrorCode); err != nil {
		w.age.why = fmt.Sprintf("its first unprocessed record cannot be fetched: %v", err)
		if kindOf(err) == KindAuthorization {
			s.forbid(ctx, w.Topic, err)
			return
		}
		s.asking.fail(broker, "Fetch", err)
		return
	}
	options := kgo.ProcessFetchPartitionOpts{Offset: w.age.scanned, Topic: w.Topic, Partition: w.Partition, IsolationLevel: kgo.ReadCommitted()}
	if w.at.uncommitted {
		options.IsolationLevel = kgo.ReadUncommitted()
	}
	got, next := kgo.ProcessFetchPartition(options, of, s.decompressor, nil)
	switch {
	case len(got.Records) > 0:
		w.age.found, w.age.first, w.age.written, w.age.fetched = true, got.Records[0].Offset, got.Records[0].Timestamp, s.round.Started
	case got.Err != nil:
		w.age.why = fmt.Sprintf("its first unprocessed record cannot be read: %v", got.Err)
	default:
		w.age.partial = len(of.RecordBatches) > 0 // it goes on behind what was no data, or with a whole batch
		w.age.scanned = max(w.age.scanned, next)
	}
}

// forbid lets a topic be that the user may not read.
func (s *survey) forbid(ctx context.Context, topic string, err error) {
	s.mu.Lock()
	s.memory.ages.forbidden[topic] = s.round.Started.Add(forbiddenInterval)
	s.mu.Unlock()
	s.once(ctx, "lag in seconds", topic, err)
}
