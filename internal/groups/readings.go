package groups

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

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
	for _, g := range s.sortedGroups() {
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
