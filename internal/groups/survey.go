package groups

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// memory is what a collector keeps from round to round: bounded by what the rounds
// hold. It belongs to whoever makes them.
type memory struct {
	// coordinators are the brokers that last told of each group.
	coordinators map[string]*Group
	// tracks is what was seen of each reading.
	tracks map[verdicts.Place]*track
	// retention is what each topic keeps.
	retention map[string]kept
	ages      ages
	// said is what was said once and is not again.
	said map[string]bool
}

func newMemory() memory {
	return memory{coordinators: map[string]*Group{}, tracks: map[verdicts.Place]*track{}, retention: map[string]kept{}, ages: newAges(), said: map[string]bool{}}
}

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
	r.Failures, r.Requests = s.asking.sorted(), s.asking.requests
	held := map[verdicts.Place]bool{}
	for _, g := range r.Groups {
		for _, one := range g.Readings {
			held[one.Place] = true
		}
	}
	if len(r.Brokers) > 0 { // else nothing is known to be gone
		maps.DeleteFunc(s.memory.tracks, func(at verdicts.Place, _ *track) bool { return !held[at] })
		maps.DeleteFunc(s.memory.retention, func(topic string, _ kept) bool { return s.topics[topic] == nil })
	}
	r.At = s.cfg.Now()
}

// sortedGroups are the groups by name.
func (s *survey) sortedGroups() []*found {
	return slices.SortedFunc(maps.Values(s.groups), func(a, b *found) int { return cmp.Compare(a.Name, b.Name) })
}
