package groups

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// survey is a round while it is made.
type survey struct {
	cfg    Config
	memory *memory
	asking *asking
	round  *Round

	decompressor kgo.Decompressor

	partitions int
	topics     map[string]*Topic
	ids        map[[16]byte]string // the topics' names by their ids
	groups     map[string]*found

	mu     sync.Mutex
	unsure map[int32]bool // brokers that did not tell their groups
	hidden []string       // topics that members of groups name and the user may not describe
}

// survey makes a round. The order matters: what groups have committed is asked
// before where the logs end, so that what is written meanwhile counts as unread and
// what is read meanwhile does not lie beyond the end.
func (c *Collector) survey(ctx context.Context) *Round {
	s := &survey{
		cfg: c.cfg, decompressor: c.decompressor, memory: &c.memory, round: &Round{Started: c.cfg.Now()}, topics: map[string]*Topic{}, ids: map[[16]byte]string{}, groups: map[string]*found{}, unsure: map[int32]bool{},
		asking: &asking{client: c.client, timeout: c.cfg.Timeout, requests: map[string]int{}, silent: map[int32]error{}},
	}
	if err := s.metadata(ctx); err == nil {
		var beside sync.WaitGroup
		beside.Go(func() { s.retention(ctx) })
		s.members(ctx)
		s.unseen(ctx)
		beside.Wait()
		s.logs(ctx)
	} else {
		s.unsure[anyBroker] = true
		s.remember()
	}
	s.read()
	s.ages(ctx)
	s.judge()
	s.finish()
	return s.round
}

// once says for good what stays unknown for want of a right, which is no failure.
func (s *survey) once(ctx context.Context, unknown, topic string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.memory.said[unknown] {
		s.memory.said[unknown] = true
		s.cfg.Log.WarnContext(ctx, "the user has no right to see a part of the cluster", "unknown", unknown, "topic", topic, "error", err)
	}
}

func (s *survey) unlisted(broker int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsure[broker] = true
}

// remember adds the groups that a broker told of before and cannot now: they are
// not gone because it is away.
func (s *survey) remember() {
	for name, before := range s.memory.coordinators {
		if s.groups[name] != nil || !s.unsure[before.Coordinator] && !s.unsure[anyBroker] {
			continue
		}
		s.groups[name] = &found{Group: &Group{
			Name: name, Type: before.Type, Protocol: before.Protocol, Coordinator: before.Coordinator,
			Why: fmt.Sprintf("broker %d, its coordinator, does not tell of it", before.Coordinator),
		}}
	}
	clear(s.memory.coordinators)
	for name, g := range s.groups {
		s.memory.coordinators[name] = &Group{Type: g.Type, Protocol: g.Protocol, Coordinator: g.Coordinator}
	}
}

// judge notes each reading in its timeline, and says how the groups fare.
func (s *survey) judge() {
	topics := map[string]*verdicts.Topic{}
	for _, t := range s.round.Topics {
		topics[t.Name] = &t.Retention
	}
	now := s.cfg.Now()
	for _, g := range s.round.Groups {
		var all []verdicts.Verdict
		shared := map[string]*verdicts.Group{}
		for _, r := range g.Readings {
			if shared[r.Topic] == nil {
				shared[r.Topic] = s.seenOf(g, r.Topic)
			}
			r.Verdict = s.memory.tracks[r.Place].judge(r, shared[r.Topic], topics[r.Topic], s.cfg.Rules, now)
			all = append(all, r.Verdict)
		}
		g.Verdict = verdicts.JudgeGroup(g.Name, all)
	}
}

// seenOf is what is known of a group as far as one topic is concerned.
func (s *survey) seenOf(g *Group, topic string) *verdicts.Group {
	seen := &verdicts.Group{State: g.State, Type: g.Type, ReadsUncommitted: s.readsUncommitted(g.Name)}
	if !g.MembersKnown {
		return seen
	}
	readers := 0
	for _, m := range g.Members {
		if len(m.Assigned[topic]) > 0 {
			readers++
		}
	}
	seen.Members, seen.Readers = verdicts.Known(int64(len(g.Members))), verdicts.Known(int64(readers))
	return seen
}

func (s *survey) readsUncommitted(group string) bool {
	return s.cfg.ReadUncommitted != nil && s.cfg.ReadUncommitted.MatchString(group)
}

// finish completes the round, and forgets what it does not hold.
func (s *survey) finish() {
	r := s.round
	for i := range r.Brokers {
		if err := s.asking.silent[r.Brokers[i].ID]; err != nil {
			r.Brokers[i].Why = fmt.Sprint(err)
		}
	}
	r.Failures, r.Requests = s.asking.failures, s.asking.requests
	slices.SortFunc(r.Failures, func(x, y Failure) int {
		return cmp.Or(cmp.Compare(x.Broker, y.Broker), cmp.Compare(x.Request, y.Request), cmp.Compare(x.Kind, y.Kind))
	})
	held := map[verdicts.Place]bool{}
	for _, g := range r.Groups {
		for _, one := range g.Readings {
			held[one.Place] = true
		}
	}
	s.forbidden()
	if len(r.Brokers) > 0 { // else nothing is known to be gone
		maps.DeleteFunc(s.memory.tracks, func(at verdicts.Place, _ *track) bool { return !held[at] })
		maps.DeleteFunc(s.memory.retention, func(topic string, _ kept) bool { return s.topics[topic] == nil })
	}
	r.At = s.cfg.Now()
}

// forbidden lists what the user has no right to see of the topics that there are.
func (s *survey) forbidden() {
	of := map[Part][]string{PartTopic: s.hidden}
	for _, t := range s.round.Topics {
		if _, no := s.memory.ages.forbidden[t.Name]; no {
			of[PartAges] = append(of[PartAges], t.Name)
		}
		if s.memory.retention[t.Name].forbidden {
			of[PartRetention] = append(of[PartRetention], t.Name)
		}
	}
	for _, part := range parts() {
		if len(of[part]) > 0 {
			s.round.Forbidden = append(s.round.Forbidden, Forbidden{part, of[part]})
		}
	}
}

// track is what was seen of one reading, over the rounds.
type track struct {
	// topic and committed are the last commit that was seen, and the topic it was
	// made to; committed is -1 before one was seen.
	topic     [16]byte
	committed int64
	timeline  *verdicts.Timeline
}

// timelineLimit is how many samples are kept of each reading.
const timelineLimit = 32

// read joins groups and logs.
func (s *survey) read() {
	for _, t := range s.round.Topics {
		kept := s.memory.retention[t.Name]
		t.Retention = kept.topic
		if t.ID != [16]byte{} {
			t.Retention.ID = hex.EncodeToString(t.ID[:])
		}
	}
	total := 0
	for _, g := range slices.SortedFunc(maps.Values(s.groups), func(a, b *found) int { return cmp.Compare(a.Name, b.Name) }) {
		s.round.Groups = append(s.round.Groups, g.Group)
		if g.Type == Share {
			continue
		}
		readings := s.readingsOf(g)
		if total+len(readings) > s.cfg.Limits.Readings {
			g.LeftOut = true
			s.round.LeftOut.Groups++
			s.round.LeftOut.Readings += len(readings)
			continue
		}
		total += len(readings)
		g.Readings = readings
	}
}

// readingsOf are the partitions that a group reads: those that it has commits for,
// those that its members own, and, where members share topics out among themselves,
// all of those topics', so that one that was added or has no owner is seen.
func (s *survey) readingsOf(g *found) (all []*Reading) {
	owners := map[string]map[int32]string{}
	wanted := map[string]bool{} // topic → all of its partitions
	for _, m := range g.Members {
		for topic, ids := range m.Assigned {
			wanted[topic] = true
			if owners[topic] == nil {
				owners[topic] = map[int32]string{}
			}
			for _, id := range ids {
				owners[topic][id] = m.String()
			}
		}
		for _, topic := range m.Topics {
			wanted[topic] = true
		}
	}
	for topic := range g.commits {
		wanted[topic] = wanted[topic] || g.Protocol == consumerProtocol
	}
	if !g.asked {
		s.addKnown(g, wanted)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		t := s.topics[name]
		if t == nil { // gone, not chosen, or not ours to see
			continue
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			r := &Reading{Place: verdicts.Place{Group: g.Name, Topic: name, Partition: p.ID}, topic: t, log: p, first: -1}
			_, committed := g.commits[name][p.ID]
			if !committed && !wanted[name] && (g.asked || s.memory.tracks[r.Place] == nil) {
				continue
			}
			if g.MembersKnown && (g.Protocol == consumerProtocol || len(g.Members) == 0) {
				r.Owner = cmp.Or(owners[name][p.ID], verdicts.Nobody)
			}
			s.place(g, r)
			all = append(all, r)
		}
	}
	return all
}

// addKnown adds the topics that a group was seen to read whose commits are not
// known now.
func (s *survey) addKnown(g *found, wanted map[string]bool) {
	for at := range s.memory.tracks {
		if _, all := wanted[at.Topic]; !all && at.Group == g.Name {
			wanted[at.Topic] = false // of its partitions, those that were seen
		}
	}
}

// place says how far a group is in a partition, from its commit and the log.
func (s *survey) place(g *found, r *Reading) {
	t := s.memory.tracks[r.Place]
	if t == nil {
		t = &track{committed: -1, timeline: verdicts.NewTimeline(r.Place, timelineLimit)}
		s.memory.tracks[r.Place] = t
	}
	if !g.asked {
		r.Case, r.Why = Unseen, cmp.Or(g.Why, "its commits were not told")
		return
	}
	if at, ok := g.commits[r.Topic][r.Partition]; ok {
		r.Committed = verdicts.Known(at)
	} else {
		r.Committed = verdicts.None[int64]()
	}
	r.measure(t, r.topic.ID, s.readsUncommitted(g.Name))
}

// measure fills in the case and the lag from the commit, the log, and the commit
// that was seen before.
func (r *Reading) measure(before *track, topic [16]byte, readsUncommitted bool) {
	committed, has := r.Committed.Get()
	oldest, _ := r.log.Oldest.Get()
	end, _ := r.log.End.Get()
	readable, known := r.log.Stable.Get()
	if has && (readsUncommitted || committed > readable) {
		readable = end
	}
	recreated := has && before.committed == committed && before.topic != topic
	had := before.committed
	switch {
	case !has:
	case !recreated:
		before.committed, before.topic = committed, topic
	}
	switch {
	case recreated:
		r.Case, r.Why = Recreated, "the commit was made before the topic was made anew"
	case r.log.Why != "" || !known:
		r.Case, r.Why = Unseen, cmp.Or(r.log.Why, "its log is not known")
	case !has && had >= 0:
		r.Case, r.Why = Expired, fmt.Sprintf("the commit, last seen at %d, is gone", had)
	case !has:
		r.Case, r.Why = Uncommitted, "the group has no commit here"
	case committed > end:
		r.Case, r.Why = Beyond, fmt.Sprintf("the commit %d lies behind the end of the log, %d", committed, end)
	case committed < oldest:
		r.Case, r.Lost = Purged, verdicts.Known(oldest-committed)
		r.Lag = verdicts.Known(max(0, readable-oldest))
	default:
		r.Lag = verdicts.Known(max(0, readable-committed))
	}
	if (r.Case == Uncommitted || r.Case == Expired) && oldest == end {
		r.Lag = verdicts.Known(int64(0)) // wherever the group begins, there is nothing
	}
	if lag, known := r.Lag.Get(); known && lag == 0 {
		r.Age = verdicts.None[time.Duration]()
	}
}

// judge notes a reading and says how the group fares. A clock that was set back
// begins a new timeline.
func (t *track) judge(r *Reading, group *verdicts.Group, topic *verdicts.Topic, rules verdicts.Rules, now time.Time) verdicts.Verdict {
	sample := verdicts.Sample{
		At: r.log.At, Topic: topic, Group: group, Oldest: r.log.Oldest, Stable: r.log.Stable, End: r.log.End,
		Committed: r.Committed, FirstUnread: r.Age, Owner: r.Owner, Why: r.Why,
	}
	if sample.At.IsZero() {
		sample.At = now
	}
	if r.Case == Recreated {
		sample.Committed = verdicts.Number{}
	}
	if err := t.timeline.Add(sample); err != nil {
		t.timeline = verdicts.NewTimeline(r.Place, timelineLimit)
		_ = t.timeline.Add(sample) // the first is never too early
	}
	return rules.Judge(t.timeline, now)
}
