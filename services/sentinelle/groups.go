package sentinelle

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// GroupList is every consumer group with its verdict, as a program reads it. Of a
// figure null is not known, and "none" is known not to be there.
type GroupList struct {
	// At is when the cluster was looked at.
	At        time.Time `json:"at"`
	ClusterID string    `json:"clusterId"`
	Brokers   Brokers   `json:"brokers"`
	// Groups are in the order of their verdicts, the worst first.
	Groups []Group `json:"groups"`
	// Unseen says what could not be asked for, and why.
	Unseen []i18n.Text `json:"unseen"`
}

// Brokers counts the brokers of a cluster, and those of them that answered.
type Brokers struct {
	Known     int `json:"known"`
	Answering int `json:"answering"`
}

// Group is a consumer group with its verdict.
type Group struct {
	Group string `json:"group"`
	// Type and KafkaState are as Kafka says them, "" where they are not known.
	Type       string          `json:"type"`
	KafkaState string          `json:"kafkaState"`
	Members    verdicts.Number `json:"members"`
	// Judged is false for a group that has no offsets to judge by, such as a share
	// group.
	Judged bool `json:"judged"`
	Judgement
	// Partitions counts what it reads by their states.
	Partitions map[verdicts.State]int `json:"partitions"`
}

// Judgement is a verdict without its place.
type Judgement struct {
	State    verdicts.State  `json:"state"`
	Evidence i18n.Text       `json:"evidence"`
	Since    *time.Time      `json:"since"`
	Lag      verdicts.Number `json:"lag"`
	LagAge   verdicts.Span   `json:"lagSeconds"`
	CatchUp  verdicts.Span   `json:"catchUpSeconds"`
	Trend    verdicts.Trend  `json:"catchUpTrend"`
	ToLoss   verdicts.Span   `json:"secondsToLoss"`
}

// GroupDetail is a consumer group with all that it reads.
type GroupDetail struct {
	At          time.Time `json:"at"`
	Group       Group     `json:"group"`
	Coordinator int32     `json:"coordinator"`
	Members     []Member  `json:"members"`
	// Reads are the partitions that it reads, the worst first.
	Reads []Read `json:"reads"`
}

// Member is a member of a group.
type Member struct {
	ID         string `json:"id"`
	Client     string `json:"client"`
	Host       string `json:"host"`
	Partitions int    `json:"partitions"`
}

// Read is one partition that a group reads.
type Read struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Judgement
	Committed verdicts.Number `json:"committed"`
	// Case says what is particular about it, "" for nothing.
	Case  string `json:"case"`
	Owner string `json:"owner"`
}

// ListGroups lists the groups of a round.
func ListGroups(r *groups.Round) GroupList {
	list := GroupList{
		At: r.At, ClusterID: r.ClusterID, Brokers: Brokers{len(r.Brokers), r.Answering()}, Groups: []Group{}, Unseen: unseenIn(r),
	}
	for _, g := range r.Groups {
		list.Groups = append(list.Groups, summarise(g))
	}
	slices.SortStableFunc(list.Groups, func(a, b Group) int {
		return cmp.Or(rank(a.Judged, a.State)-rank(b.Judged, b.State), strings.Compare(a.Group, b.Group))
	})
	return list
}

// DetailGroup says all of one group of a round, false where it has no such group.
func DetailGroup(r *groups.Round, name string) (GroupDetail, bool) {
	g := r.Group(name)
	if g == nil {
		return GroupDetail{}, false
	}
	d := GroupDetail{At: r.At, Group: summarise(g), Coordinator: g.Coordinator, Members: []Member{}, Reads: []Read{}}
	for _, m := range g.Members {
		owned := 0
		for _, ids := range m.Assigned {
			owned += len(ids)
		}
		d.Members = append(d.Members, Member{m.ID, m.Client, m.Host, owned})
	}
	for _, one := range g.Readings {
		d.Reads = append(d.Reads, Read{
			Topic: one.Topic, Partition: one.Partition, Judgement: judgement(one.Verdict, one.Lag, one.Age),
			Committed: one.Committed, Case: string(one.Case), Owner: one.Owner,
		})
	}
	slices.SortStableFunc(d.Reads, func(a, b Read) int {
		return cmp.Or(rank(true, a.State)-rank(true, b.State), strings.Compare(a.Topic, b.Topic), int(a.Partition-b.Partition))
	})
	return d, true
}

// rank orders states, the worst first and what is not judged last.
func rank(judged bool, state verdicts.State) int {
	if !judged {
		return len(verdicts.States())
	}
	return slices.Index(verdicts.States(), state)
}

func summarise(g *groups.Group) Group {
	s := Group{
		Group: g.Name, Type: g.Type, KafkaState: g.State, Judged: true, Partitions: map[verdicts.State]int{},
		Judgement: judgement(g.Verdict, g.Verdict.Lag, g.Verdict.LagAge),
	}
	if g.MembersKnown {
		s.Members = verdicts.Known(int64(len(g.Members)))
	}
	for _, one := range g.Readings {
		s.Partitions[one.Verdict.State]++
	}
	switch {
	case g.Type == groups.Share:
		s.Judged, s.Judgement = false, Judgement{State: verdicts.Unknown, Evidence: i18n.Textf("a share group has no offset to lag behind")}
	case g.LeftOut:
		s.State, s.Evidence = verdicts.Unknown, i18n.Textf("what it reads is left out: there are more partitions than sentinelle watches")
	case len(g.Readings) == 0 && g.Why != "":
		s.Evidence = i18n.Phrase(g.Why)
	case len(g.Readings) == 0 && g.MembersKnown && len(g.Members) == 0:
		s.Judged, s.Evidence = false, i18n.Textf("it has no members, and no commit on a topic that is watched")
	}
	return s
}

func judgement(v verdicts.Verdict, lag verdicts.Number, age verdicts.Span) Judgement {
	j := Judgement{State: v.State, Evidence: v.Evidence, Lag: lag, LagAge: age, CatchUp: v.CatchUp, Trend: v.Trend, ToLoss: v.ToLoss}
	if !v.Since.IsZero() {
		j.Since = &v.Since
	}
	return j
}

// unseenIn says what a round could not ask for.
func unseenIn(r *groups.Round) []i18n.Text {
	all := []i18n.Text{}
	for _, f := range r.Failures {
		said := i18n.Textf("%s: %s", f.Request, i18n.Phrase(f.Text))
		if f.Broker >= 0 {
			said = i18n.Textf("broker %d: %s", f.Broker, said)
		}
		all = append(all, said)
	}
	for _, f := range r.Forbidden {
		all = append(all, forbidden(f))
	}
	return all
}

// forbidden says which right is missing, of which topics.
func forbidden(f groups.Forbidden) i18n.Text {
	const few = 3
	named := i18n.Verbatim(strings.Join(f.Topics[:min(few, len(f.Topics))], ", "))
	if more := len(f.Topics) - few; more > 0 {
		named = i18n.Textf("%s and %d more", named, more)
	}
	switch f.What {
	case groups.PartAges:
		return i18n.Textf("lag in seconds: no right to read %s", named)
	case groups.PartRetention:
		return i18n.Textf("retention: no right to see the settings of %s", named)
	default:
		return i18n.Textf("topics that groups read: no right to see %s", named)
	}
}

// round is the latest look at the cluster, or why nothing is known of it. What is
// too old says nothing.
func (p *page) round() (r *groups.Round, why i18n.Text) {
	r = p.cluster.Latest()
	switch {
	case r == nil:
		return nil, i18n.Textf("The cluster has not been looked at yet.")
	case p.cluster.Stale(r):
		return nil, i18n.Textf("The cluster has not been looked at for %s.", shortDuration(p.now().Sub(r.At)))
	default:
		return r, i18n.Text{}
	}
}

// serveGroups takes the requests that are about groups.
func (p *page) serveGroups(router *httpapi.Router) {
	router.Handle("GET /groups", p.groupList)
	router.Handle("GET /groups/{group}", p.groupDetail)
}

// roundRetry is when to ask again for a look at the cluster.
const roundRetry = 2 * time.Second

// groupList answers with every group: to a browser as a page.
func (p *page) groupList(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if httpapi.WantsPage(r) {
		p.show(w, r, http.StatusOK, "groups", frame{Title: i18n.Textf("Consumer groups"), Body: p.groupsView(0), Refresh: 10})
		return
	}
	round, why := p.round()
	if round == nil {
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.NotReady, Detail: why.String(), RetryAfter: roundRetry})
		return
	}
	httpapi.WriteJSON(w, http.StatusOK, ListGroups(round))
}

// groupDetail answers with one group: to a browser as a page.
func (p *page) groupDetail(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	round, why := p.round()
	var detail GroupDetail
	known := false
	if round != nil {
		detail, known = DetailGroup(round, r.PathValue("group"))
	}
	nobody := i18n.Textf("The cluster has no such group, or sentinelle does not watch it.")
	switch asPage := httpapi.WantsPage(r); {
	case round == nil && asPage:
		p.show(w, r, http.StatusServiceUnavailable, "problem", frame{Title: i18n.Textf("Not known"), Here: "groups", Body: why, Refresh: 2})
	case round == nil:
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.NotReady, Detail: why.String(), RetryAfter: roundRetry})
	case !known && asPage:
		p.show(w, r, http.StatusNotFound, "problem", frame{Title: i18n.Textf("No such group"), Here: "groups", Body: nobody})
	case !known:
		httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.UnknownResource, Detail: nobody.String()})
	case asPage:
		p.show(w, r, http.StatusOK, "group", frame{Title: i18n.Verbatim(detail.Group.Group), Here: "groups", Body: detail, Refresh: 10})
	default:
		httpapi.WriteJSON(w, http.StatusOK, detail)
	}
}

// groupsView is the groups as a part of a page.
type groupsView struct {
	Why    i18n.Text // nothing is known, or not said where it is
	List   GroupList
	Hidden int // how many more groups there are
}

// fewGroups is how many groups stand on the first page.
const fewGroups = 12

// groupsView makes the part with at most so many groups, 0 for all.
func (p *page) groupsView(most int) groupsView {
	round, why := p.round()
	if round == nil {
		return groupsView{Why: why}
	}
	view := groupsView{List: ListGroups(round)}
	if n := len(view.List.Groups); most > 0 && n > most {
		view.List.Groups, view.Hidden = view.List.Groups[:most], n-most
	}
	return view
}

// SpanText writes a duration for people: – is not known.
func SpanText(v verdicts.Span) i18n.Text {
	d, known := v.Get()
	switch {
	case known:
		return shortDuration(d)
	case v.IsNone():
		return i18n.Textf("none")
	default:
		return i18n.Verbatim(nothing)
	}
}

// NumberText writes an offset or a count for people: – is not known.
func NumberText(v verdicts.Number) string {
	if v.IsZero() {
		return nothing
	}
	return v.String()
}

// CatchUpText says in how long a group will have caught up: a group for which nothing
// waits has, and one that does not get closer never will.
func CatchUpText(v verdicts.Span) i18n.Text {
	if v.IsNone() {
		return i18n.Textf("never")
	}
	return SpanText(v)
}
