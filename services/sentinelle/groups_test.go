package sentinelle

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// looked is a cluster that was looked at, and perhaps too long ago.
type looked struct {
	round *groups.Round
	stale bool
}

func (l looked) Latest() *groups.Round { return l.round }

func (l looked) Stale(*groups.Round) bool { return l.stale }

// reading is a partition that a group reads, judged.
func reading(group string, partition int32, state verdicts.State, evidence string, lag int64) *groups.Reading {
	place := verdicts.Place{Group: group, Topic: "order.created", Partition: partition}
	age := verdicts.None[time.Duration]()
	if lag > 0 {
		age = verdicts.Known(99 * time.Second)
	}
	return &groups.Reading{
		Place: place, Committed: verdicts.Known[int64](48213), Lag: verdicts.Known(lag), Age: age, Owner: "billing-1 at 10.0.0.7",
		Verdict: verdicts.Verdict{Place: place, State: state, Evidence: i18n.Verbatim(evidence), Lag: verdicts.Known(lag), LagAge: age, At: noon()},
	}
}

// threeGroups is a round that saw one group stalled, one idle, and a share group.
func threeGroups() *groups.Round {
	stalled := reading("billing", 1, verdicts.Stalled, "no progress for 94 s with 2 members, 212 records since, last commit order.created/1 at 48213", 212)
	stalled.Verdict.CatchUp, stalled.Verdict.Since = verdicts.None[time.Duration](), noon().Add(-94*time.Second)
	well := reading("billing", 0, verdicts.OK, "nothing waits: read to 5 of 5", 0)
	well.Verdict.CatchUp = verdicts.Known(time.Duration(0))
	quiet := reading("a <b>/c", 0, verdicts.Idle, "nothing waits: read to 7 of 7; no members", 0)
	r := &groups.Round{
		Started: noon().Add(-time.Second), At: noon(), ClusterID: "cluster-1", Brokers: []groups.Broker{{ID: 1}, {ID: 2, Why: "no answer"}},
		Failures:  []groups.Failure{{Broker: 2, Request: "ListOffsets", Text: "no answer within 3 s"}},
		Forbidden: []groups.Forbidden{{What: groups.PartTopic, Topics: []string{"a"}}, {What: groups.PartAges, Topics: []string{"a", "b", "c", "d", "e"}}, {What: groups.PartRetention, Topics: []string{"a", "b"}}},
		Groups: []*groups.Group{
			{Name: "a <b>/c", Type: groups.Classic, State: "Empty", MembersKnown: true, Readings: []*groups.Reading{quiet}},
			{
				Name: "billing", Type: groups.Consumer, State: "Stable", MembersKnown: true, Coordinator: 1, Readings: []*groups.Reading{well, stalled},
				Members: []groups.Member{{ID: "m-1", Client: "billing-1", Host: "10.0.0.7", Assigned: map[string][]int32{"order.created": {0, 1}}}, {ID: "m-2", Client: "billing-2", Host: "10.0.0.8"}},
			},
			{Name: "shared", Type: groups.Share, State: "Stable", MembersKnown: true},
		},
	}
	for _, g := range r.Groups {
		var all []verdicts.Verdict
		for _, one := range g.Readings {
			all = append(all, one.Verdict)
		}
		g.Verdict = verdicts.JudgeGroup(g.Name, all)
	}
	return r
}

func openCluster(t *testing.T, around service.Surroundings, c cluster) *site {
	t.Helper()
	s := openSite(t, healthyBank(), around)
	s.page.cluster = c
	return s
}

func TestGroupsForPrograms(t *testing.T) {
	s := openCluster(t, service.Surroundings{}, looked{round: threeGroups()})
	var list GroupList
	s.getJSON(t, "/groups", &list)
	var order []string
	for _, g := range list.Groups {
		order = append(order, g.Group+" "+string(g.State))
	}
	if diff := cmp.Diff([]string{"billing stalled", "a <b>/c idle", "shared unknown"}, order); diff != "" {
		t.Errorf("groups, the worst first (-want +got):\n%s", diff)
	}
	billing := list.Groups[0]
	if billing.Lag != verdicts.Known[int64](212) || !billing.CatchUp.IsNone() || billing.Partitions[verdicts.Stalled] != 1 || list.Brokers != (Brokers{2, 1}) {
		t.Errorf("billing is %+v, brokers %+v", billing, list.Brokers)
	}
	if want := "order.created/1: no progress for 94 s with 2 members, 212 records since, last commit order.created/1 at 48213 (of 2 partitions 1 stalled, 1 ok)"; billing.Evidence.String() != want {
		t.Errorf("evidence %q", billing.Evidence)
	}
	if list.Groups[2].Judged {
		t.Errorf("a share group is judged: %+v", list.Groups[2])
	}
	var unseen []string
	for _, said := range list.Unseen {
		unseen = append(unseen, said.String())
	}
	if diff := cmp.Diff([]string{
		"broker 2: ListOffsets: no answer within 3 s", "topics that groups read: no right to see a",
		"lag in seconds: no right to read a, b, c and 2 more", "retention: no right to see the settings of a, b",
	}, unseen); diff != "" {
		t.Errorf("not seen (-want +got):\n%s", diff)
	}

	var one GroupDetail
	s.getJSON(t, "/groups/billing", &one)
	if len(one.Reads) != 2 || one.Reads[0].Partition != 1 || one.Reads[0].State != verdicts.Stalled || len(one.Members) != 2 || one.Members[0].Partitions != 2 {
		t.Errorf("billing in full is %+v", one)
	}
	s.getJSON(t, "/groups/a%20%3Cb%3E%2Fc", &one)
	if one.Group.Group != "a <b>/c" {
		t.Errorf("got %s", one.Group.Group)
	}
	if got := s.Metric("http_requests_total", map[string]string{"route": "/groups/{group}", "method": "GET", "status_code": "200"}); got != 2 {
		t.Errorf("%v requests counted", got)
	}
}

func TestGroupsForBrowsers(t *testing.T) {
	for name, around := range map[string]service.Surroundings{"with a bank": surroundings(), "without": {}} {
		t.Run(name, func(t *testing.T) {
			s := openCluster(t, around, looked{round: threeGroups()})
			for path, wants := range map[string][]string{
				"/":                       {`class="verdict stalled">stalled`, "no progress for 94 s", `href="/groups/a%20%3cb%3e%2fc"`, "not judged"},
				"/groups":                 {`class="verdict idle">idle`, "Not seen: broker 2: ListOffsets", "a &lt;b&gt;/c"},
				"/groups/billing":         {"<h1>billing</h1>", "order.created/1</th>", "never", "billing-2", "48213"},
				"/groups/a%20%3Cb%3E%2Fc": {"<h1>a &lt;b&gt;/c</h1>"},
			} {
				text := strings.ToLower(s.read(t, path, http.StatusOK))
				for _, want := range wants {
					if !strings.Contains(text, strings.ToLower(want)) {
						t.Errorf("%s has no %q:\n%s", path, want, text)
					}
				}
			}
			s.read(t, "/groups/nobody", http.StatusNotFound)
		})
	}
}

// What is not known, or too old, is no answer.
func TestGroupsThatNobodyKnows(t *testing.T) {
	for name, tt := range map[string]struct {
		cluster cluster
		want    string
	}{
		"not yet":      {looked{}, "The cluster has not been looked at yet."},
		"too long ago": {looked{round: &groups.Round{At: noon().Add(-5 * time.Minute)}, stale: true}, "The cluster has not been looked at for 5 min."},
	} {
		t.Run(name, func(t *testing.T) {
			s := openCluster(t, service.Surroundings{}, tt.cluster)
			for _, path := range []string{"/groups", "/groups/billing"} {
				w := s.ask(t, http.MethodGet, path, "application/json", "")
				if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), tt.want) || w.Header().Get("Retry-After") == "" {
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
			}
			if text := s.read(t, "/groups", http.StatusOK); !strings.Contains(text, tt.want) {
				t.Errorf("the page says %s", text)
			}
			s.read(t, "/groups/billing", http.StatusServiceUnavailable)
		})
	}
	s := openCluster(t, service.Surroundings{}, looked{round: threeGroups()})
	w := s.ask(t, http.MethodGet, "/groups/nobody", "application/json", "")
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), string(httpapi.UnknownResource)) {
		t.Errorf("a group that is not there: %d %s", w.Code, w.Body)
	}
}

// The first page shows the worst, and says how many more there are.
func TestTheFirstPageShowsTheWorstGroups(t *testing.T) {
	r := threeGroups()
	for range fewGroups {
		r.Groups = append(r.Groups, &groups.Group{Name: "more", Verdict: verdicts.Verdict{State: verdicts.OK, Evidence: i18n.Verbatim("well")}})
	}
	s := openCluster(t, service.Surroundings{}, looked{round: r})
	text := s.read(t, "/", http.StatusOK)
	if n := strings.Count(text, `class="verdict `); n != fewGroups || !strings.Contains(text, "And 3 more") || !strings.Contains(text, "stalled") {
		t.Errorf("%d groups: %s", n, text)
	}
}
