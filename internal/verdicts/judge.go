package verdicts

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
)

// Rules are the bounds by which a timeline is judged. Those that bound how long
// the commit may rest grow with how often the group commits, as the timeline shows.
type Rules struct {
	// Stale is how old the newest sample may be.
	Stale time.Duration
	// Late is how long a record may wait before the group is behind; twice the
	// usual time between commits where that is more.
	Late time.Duration
	// Stall is how long the commit may rest while records wait; three times the
	// usual time between commits where that is more.
	Stall time.Duration
	// Patience is how long a group may have no members, a partition no owner, or a
	// transaction hold back records, before it counts.
	Patience time.Duration
	// Hold is how long a state lasts at least before a better one takes its place.
	Hold time.Duration
	// Window is how much of the past says how fast a group reads.
	Window time.Duration
	// Loss is how soon retention must be about to delete unread records; half of
	// the retention where that is less.
	Loss time.Duration
	// Ever is how long catching up may take: what takes longer is not getting there.
	Ever time.Duration
}

// DefaultRules are for rounds some seconds apart.
func DefaultRules() Rules {
	return Rules{
		Stale: time.Minute, Late: 30 * time.Second, Stall: 90 * time.Second, Patience: time.Minute,
		Hold: 30 * time.Second, Window: 3 * time.Minute, Loss: time.Hour, Ever: 24 * time.Hour,
	}
}

// Validate says which bounds are of no use.
func (r Rules) Validate() error {
	var wrong []error
	for name, bound := range map[string]time.Duration{
		"stale": r.Stale, "late": r.Late, "stall": r.Stall, "patience": r.Patience, "window": r.Window, "loss": r.Loss, "ever": r.Ever,
	} {
		if bound <= 0 {
			wrong = append(wrong, fmt.Errorf("%s is %s, want more than 0", name, bound))
		}
	}
	if r.Hold < 0 {
		wrong = append(wrong, fmt.Errorf("hold is %s, want 0 or more", r.Hold))
	}
	return errors.Join(wrong...)
}

// Judge says how the group fares on the timeline's partition, seen at now. The
// same timeline at the same time has the same verdict: it is the worst of what each
// look within Hold before the newest sample says, so that no state flickers. A look
// that knew nothing says nothing, unless it is the newest.
func (r Rules) Judge(t *Timeline, now time.Time) Verdict {
	samples := t.Samples()
	n := len(samples)
	if n == 0 {
		return Verdict{Place: t.Place, State: Unknown, Evidence: i18n.Textf("nothing has been seen yet")}
	}
	last := samples[n-1]
	if age := now.Sub(last.At); age > r.Stale {
		return Verdict{Place: t.Place, State: Unknown, At: last.At, Evidence: because(i18n.Textf("nothing has been seen for %s", words(age)), last.Why)}
	}
	newest := r.look(t.Place, samples)
	held, heldAt := newest, last.At
	for i := n - 1; i > 0 && last.At.Sub(samples[i-1].At) < r.Hold; i-- {
		if v := r.look(t.Place, samples[:i]); v.State != Unknown && v.State.Worse(held.State) {
			held, heldAt = v, v.At
		}
	}
	if held.State != newest.State {
		newest.Evidence = i18n.Textf("%s (until %s ago; now %s: %s)", held.Evidence, words(last.At.Sub(heldAt)), i18n.Phrase(string(newest.State)), newest.Evidence)
		newest.State, newest.Since = held.State, held.Since
	}
	return newest
}

// look says what the samples show at the time of the newest.
func (r Rules) look(place Place, samples []Sample) Verdict {
	l := view(r, place, samples)
	v := Verdict{Place: place, At: l.last.At, Lag: l.last.Lag(), LagAge: l.age()}
	if v.Lag == Known[int64](0) {
		v.LagAge = None[time.Duration]()
	}
	switch f := l.finding(); {
	case !l.unknowable().IsZero():
		v.State, v.Evidence = Unknown, l.unknowable()
	default:
		v.State, v.Evidence, v.Since = f.state, f.evidence, f.since
		v.CatchUp, v.Trend, v.ToLoss = f.catchUp, f.trend, f.toLoss
	}
	return v
}

// finding is what a look found.
type finding struct {
	state    State
	evidence i18n.Text
	since    time.Time
	catchUp  Span
	trend    Trend
	toLoss   Span
}

// finding decides on a state: each step takes what the ones before it left.
func (l *looked) finding() finding {
	switch {
	case !l.unknowable().IsZero():
		return finding{state: Unknown}
	case l.last.Committed.IsNone():
		return l.uncommitted()
	case l.beyond():
		return l.beyondTheEnd()
	}
	f := l.reading()
	f.toLoss = l.toLoss()
	switch f.state {
	case OK, Idle:
		f.catchUp = Known(time.Duration(0))
	case Stalled, Abandoned, Unassigned, FallingBehind:
		f.catchUp = None[time.Duration]()
	}
	if loss := l.loss(&f); !loss.IsZero() {
		f.state, f.evidence = Losing, loss
	}
	if since, blocked := l.blocked(); !blocked.IsZero() && Blocked.Worse(f.state) {
		f.state, f.evidence, f.since, f.catchUp, f.trend = Blocked, i18n.Textf("%s; %s", blocked, f.evidence), since, None[time.Duration](), ""
	}
	return f
}

// unknowable says what the newest sample lacks for any verdict, nothing where it lacks nothing.
func (l *looked) unknowable() i18n.Text {
	_, ended := l.last.Readable().Get()
	_, bounded := l.last.End.Get()
	switch {
	case l.last.Committed.IsZero():
		return because(i18n.Textf("the group's commit is not known"), l.last.Why)
	case !ended || !bounded:
		return because(i18n.Textf("the partition's end is not known"), l.last.Why)
	default:
		return i18n.Text{}
	}
}

// uncommitted judges a group that has committed nothing on the partition: where it
// starts cannot be seen from outside.
func (l *looked) uncommitted() finding {
	oldest, known := l.last.Oldest.Get()
	end, _ := l.last.End.Get()
	if known && oldest == end {
		return finding{state: Idle, evidence: i18n.Textf("the partition is empty and nothing has been committed")}
	}
	since := l.since(func(s *Sample) bool { return s.Committed.IsNone() && s.Oldest != s.End })
	rested := l.last.At.Sub(since.At)
	first, _ := since.End.Get()
	if l.members() > 0 && rested >= l.rules.Stall && end > first {
		return finding{state: Stalled, since: since.At, evidence: i18n.Textf("nothing has ever been committed in %s of watching, %s, %s since",
			words(rested), l.membership(), records(end-first))}
	}
	for i := range slices.Backward(l.samples) {
		if was, known := l.samples[i].Committed.Get(); known {
			return finding{state: Unknown, since: since.At, evidence: i18n.Textf("the commit, %s at %s until %s ago, is gone: it expired or was deleted",
				l.place, offset(was), words(l.last.At.Sub(l.samples[i].At)))}
		}
	}
	return finding{state: Unknown, evidence: i18n.Textf("nothing has been committed, so it cannot be seen where the group starts")}
}

// beyond says whether the commit lies beyond the log's end: the log was truncated,
// or its topic is another one under the same name.
func (l *looked) beyond() bool {
	committed, _ := l.last.Committed.Get()
	end, _ := l.last.End.Get()
	return committed > end
}

func (l *looked) beyondTheEnd() finding {
	committed, _ := l.last.Committed.Get()
	end, _ := l.last.End.Get()
	oldest, known := l.last.Oldest.Get()
	says := i18n.Textf("the last commit, %s at %s, lies beyond the log's end, %s: the log was truncated, or the topic created again",
		l.place, offset(committed), offset(end))
	since := l.since(func(s *Sample) bool {
		end, known := s.End.Get()
		return known && s.Committed == l.last.Committed && committed > end
	})
	rested := l.last.At.Sub(since.At)
	switch waits := known && oldest < end; {
	case waits && l.last.memberless() && rested >= l.rules.Patience:
		return finding{state: Abandoned, since: since.At, evidence: i18n.Textf("%s; %s for %s, %s in the log", says, l.membership(), words(rested), records(end-oldest))}
	case waits && rested >= l.rules.Stall:
		return finding{state: Stalled, since: since.At, evidence: i18n.Textf("no progress for %s %s, %s in the log; %s", words(rested), l.membership(), records(end-oldest), says)}
	default:
		return finding{state: Unknown, since: since.At, evidence: says}
	}
}

// reading judges a group by what it reads and what waits for it.
func (l *looked) reading() finding {
	if f, found := l.unassigned(); found {
		return f
	}
	if l.last.nothingWaits() {
		return l.quiet()
	}
	if f, found := l.resting(); found {
		return f
	}
	f := l.pace()
	if peak, at := l.peak(), l.back; peak > l.committed() && Rewound.Worse(f.state) {
		f.state, f.since = Rewound, at
		f.evidence = i18n.Textf("the commit %s went back from %s to %s, %s read again, seen %s ago; %s",
			l.place, offset(peak), offset(l.lowest(at)), records(peak-l.lowest(at)), words(l.last.At.Sub(at)), f.evidence)
	}
	return f
}

// unassigned: the group is stable and reads the topic, and nobody owns the
// partition. While it rebalances nobody can know.
func (l *looked) unassigned() (finding, bool) {
	orphan := func(s *Sample) bool {
		readers, known := s.group().Readers.Get()
		return s.Owner == Nobody && s.group().State == "Stable" && known && readers > 0
	}
	if !orphan(&l.last) {
		return finding{}, false
	}
	since := l.since(orphan)
	rested := l.last.At.Sub(since.At)
	if rested < l.rules.Patience || l.movedSince(since.At) {
		return finding{}, false
	}
	readers, _ := l.last.group().Readers.Get()
	return finding{state: Unassigned, since: since.At, evidence: i18n.Textf("no owner for %s while the group is stable and %s, %s",
		words(rested), plural(readers, "%d member reads the topic", "%d members read the topic"), l.waiting())}, true
}

// quiet judges a group for which nothing waits.
func (l *looked) quiet() finding {
	end, _ := l.last.End.Get()
	still := l.since(func(s *Sample) bool { return s.End == l.last.End && s.Committed == l.last.Committed })
	rested := l.last.At.Sub(still.At)
	said := i18n.Textf("nothing waits: read to %s of %s", offset(l.committed()), offset(end))
	if end > l.committed() {
		said = i18n.Textf("%s, and what follows holds no data to read", said)
	}
	switch {
	case len(l.samples) < 2:
		return finding{state: Unknown, evidence: i18n.Textf("%s, but it has been seen only once", said)}
	case l.last.memberless() && !l.movedSince(l.last.At.Add(-l.rules.Patience)):
		return finding{state: Idle, since: still.At, evidence: i18n.Textf("%s; %s", said, l.membership())}
	case rested >= l.rules.Patience:
		return finding{state: Idle, since: still.At, evidence: i18n.Textf("%s, and nothing has come for %s", said, words(rested))}
	default:
		return finding{state: OK, evidence: said}
	}
}

// blocked: an open transaction keeps the last stable offset from moving while
// records are written behind it, so that the group cannot read them.
func (l *looked) blocked() (since time.Time, evidence i18n.Text) {
	stuck := func(s *Sample) bool {
		stable, known := s.Stable.Get()
		end, ended := s.End.Get()
		return known && ended && s.Stable == l.last.Stable && end > stable && s.Readable() == s.Stable
	}
	if !stuck(&l.last) {
		return time.Time{}, i18n.Text{}
	}
	since = l.since(stuck).At
	rested := l.last.At.Sub(since)
	if rested < l.rules.Patience {
		return time.Time{}, i18n.Text{}
	}
	stable, _ := l.last.Stable.Get()
	end, _ := l.last.End.Get()
	return since, i18n.Textf("an open transaction has held the last stable offset at %s for %s, %s behind it", offset(stable), words(rested), records(end-stable))
}

// resting: records wait and the commit has not moved for too long.
func (l *looked) resting() (finding, bool) {
	since, arrived := l.waitingSince()
	rested := l.seenSince(since)
	last := i18n.Textf("last commit %s at %s", l.place, offset(l.committed()))
	alone := l.since((*Sample).memberless)
	switch {
	case l.last.memberless() && rested >= l.patience() && l.last.At.Sub(alone.At) >= l.patience():
		return finding{state: Abandoned, since: alone.At, evidence: i18n.Textf("%s for %s, %s, %s since, %s",
			l.membership(), words(l.last.At.Sub(alone.At)), l.waiting(), records(arrived), last)}, true
	case !l.last.memberless() && rested >= l.stall():
		return finding{state: Stalled, since: since, evidence: i18n.Textf("no progress for %s %s, %s since, %s",
			words(rested), l.membership(), records(arrived), last)}, true
	default:
		return finding{}, false
	}
}

// pace judges a group for which records wait, by how long they do and whether they
// get fewer.
func (l *looked) pace() finding {
	late := max(l.rules.Late, 2*l.usual)
	youngest, oldest := l.ages()
	since, _ := l.waitingSince()
	rested := l.seenSince(since)
	switch age, known := oldest.Get(); {
	case len(l.samples) < 2:
		return finding{state: Unknown, evidence: i18n.Textf("%s, and it has been seen only once", l.waiting())}
	case known && age <= late:
		return finding{state: OK, evidence: l.commits(l.waiting())}
	case !known && youngest <= late:
		return finding{state: Unknown, evidence: because(i18n.Textf("%s, for how long is not known", l.waiting()), l.last.Why)}
	case len(l.moves) == 0:
		return finding{state: Unknown, evidence: i18n.Textf("%s, no commit seen in %s of watching", l.waiting(), words(rested))}
	case rested >= late:
		return finding{state: FallingBehind, since: since, evidence: l.commits(i18n.Textf("%s, no progress for %s", l.waiting(), words(rested)))}
	}
	points := l.pacePoints()
	if len(points) < 3 {
		return finding{state: Unknown, evidence: i18n.Textf("%s, seen too few times to say whether they get fewer", l.waiting())}
	}
	return l.trend(points)
}

// trend says whether what waits gets less, and when nothing will.
func (l *looked) trend(points []point) finding {
	lag, _ := l.last.Lag().Get()
	change := slope(points)
	speeds := l.speeds(points)
	needed := time.Duration(0)
	if change < 0 {
		needed = seconds(float64(lag) / -change)
	}
	if change >= 0 || needed > l.rules.Ever {
		said := i18n.Textf("%s, and they do not get fewer: %s", l.waiting(), speeds)
		if change > 0 {
			said = i18n.Textf("%s, and they get more: %s", l.waiting(), speeds)
		}
		return finding{state: FallingBehind, evidence: said}
	}
	f := finding{state: CatchingUp, catchUp: Known(needed), trend: Steady}
	f.evidence = i18n.Textf("%s, done in %s: %s", l.waiting(), words(needed), speeds)
	switch recent := slope(points[len(points)/2:]); {
	case recent < 1.2*change:
		f.trend, f.evidence = Sooner, i18n.Textf("%s, done in %s or sooner: %s", l.waiting(), words(needed), speeds)
	case recent > 0.8*change:
		f.trend, f.evidence = Later, i18n.Textf("%s, done in %s or later: %s", l.waiting(), words(needed), speeds)
	}
	return f
}

// loss says what retention takes from the group before it is read, nothing where it takes nothing.
func (l *looked) loss(f *finding) i18n.Text {
	if lost := l.lost(); lost > 0 {
		oldest, _ := l.last.Oldest.Get()
		if l.last.memberless() && l.last.nothingWaits() {
			f.state, f.evidence = Abandoned, i18n.Textf("%s, and %s: the log starts at %s, last commit %s at %s",
				l.membership(), deletedUnread(lost), offset(oldest), l.place, offset(l.committed()))
			return i18n.Text{}
		}
		f.toLoss = Known(time.Duration(0))
		return i18n.Textf("%s: the log starts at %s, last commit %s at %s; %s", deletedUnread(lost), offset(oldest), l.place, offset(l.committed()), f.evidence)
	}
	soon := l.rules.Loss
	if retention, bounded := l.last.topic().Retention.Get(); bounded {
		soon = min(soon, retention/2)
	}
	left, known := f.toLoss.Get()
	if known && left <= soon && slices.Contains([]State{Stalled, Abandoned, FallingBehind, Unassigned}, f.state) && !l.last.nothingWaits() {
		return i18n.Textf("retention deletes unread records in %s; %s: %s", words(left), i18n.Phrase(string(f.state)), f.evidence)
	}
	return i18n.Text{}
}

// members is how many the group has, -1 where that is not known.
func (l *looked) members() int64 {
	if members, known := l.last.group().Members.Get(); known {
		return members
	}
	return -1
}

// peak is the highest commit of the timeline.
func (l *looked) peak() (peak int64) {
	for i := range l.samples {
		committed, _ := l.samples[i].Committed.Get()
		peak = max(peak, committed)
	}
	return peak
}
