package groups_test

import (
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// A round sees groups of all types with their members, dead or alive, and how far
// each is.
func TestARoundSeesGroupsOfAllTypes(t *testing.T) {
	w := open(t, nil)
	w.produce(0, w.now, "a", "b", "c")
	w.produce(1, w.now, "d")
	w.join("classic", []string{"orders"})
	w.join("modern", []string{"orders"}, kgo.ServerSideBalancer())
	w.commit("dead", "orders", 0, 1)
	share, err := kgo.NewClient(kgo.SeedBrokers(w.ListenAddrs()...), kgo.ShareGroup("shared"), kgo.ConsumeTopics("orders"), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer share.Close()
	r := w.await("every group with its members", func(r *groups.Round) bool {
		return owned(r, "classic") == 3 && owned(r, "modern") == 3 && r.Group("shared") != nil
	})
	if len(r.Failures) > 0 || r.Answering() != 3 || r.ClusterID == "" {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]struct{ kind, state, protocol string }{
		"classic": {groups.Classic, "Stable", "consumer"}, "modern": {groups.Consumer, "Stable", "consumer"}, "dead": {groups.Classic, "Empty", ""},
	} {
		if g := r.Group(name); g.Type != want.kind || g.State != want.state || g.Protocol != want.protocol || !g.MembersKnown {
			t.Errorf("%s: %+v", name, g)
		}
	}
	if g := r.Group("shared"); g.Type != groups.Share || len(g.Readings) != 0 {
		t.Errorf("the share group: %+v", g)
	}
	if one := reading(t, r, "dead", 0); one.Lag != verdicts.Known(int64(2)) || one.Owner != verdicts.Nobody {
		t.Errorf("dead: %+v", one)
	}
	if one := reading(t, r, "modern", 0); !strings.HasPrefix(one.Owner, "member at ") {
		t.Errorf("modern: %q of %+v", one.Owner, r.Group("modern").Members)
	}
	if topic := r.Topic("orders"); len(topic.Partitions) != 3 || topic.Partitions[1].Leader != 1 || topic.Partitions[0].End != verdicts.Known(int64(3)) {
		t.Errorf("orders: %+v", topic)
	}
}

// owned is how many partitions a group's members own.
func owned(r *groups.Round, group string) (n int) {
	if g := r.Group(group); g != nil {
		for _, m := range g.Members {
			for _, ids := range m.Assigned {
				n += len(ids)
			}
		}
	}
	return n
}

// The requests of a round grow with the brokers, not with groups and partitions.
func TestRequestsGrowWithBrokersAlone(t *testing.T) {
	w := open(t, nil, kfake.SeedTopics(60, "many"))
	for i := range 40 {
		w.commit("group-"+strconv.Itoa(i), "many", int32(i), 0)
	}
	w.look()
	got := w.look().Requests
	want := map[string]int{"Metadata": 1, "ListGroups": 3, "DescribeGroups": 3, "OffsetFetch": 3, "ListOffsets": 9}
	if !maps.Equal(got, want) {
		t.Errorf("a round asks %v, want %v", got, want)
	}
}

// Brokers of 2018 know neither types nor topic ids, and tell the commits of one
// group at a time.
func TestOldBrokersAreAskedAsTheyUnderstand(t *testing.T) {
	w := open(t, nil, kfake.MaxVersions(kversion.V2_1_0()))
	w.produce(0, w.now, "a", "b")
	for i := range 5 {
		w.commit("group-"+strconv.Itoa(i), "orders", 0, 1)
	}
	r := w.look()
	for i := range 5 {
		if one := reading(t, r, "group-"+strconv.Itoa(i), 0); one.Lag != verdicts.Known(int64(1)) {
			t.Errorf("%+v", one)
		}
	}
	if len(r.Failures) > 0 || r.Requests["OffsetFetch"] != 5 {
		t.Errorf("failures %v, requests %v", r.Failures, r.Requests)
	}
}

// Groups and topics that nobody chose are neither asked about nor shown; what is
// beyond the limits is counted.
func TestWhatIsNotChosenIsLeftOut(t *testing.T) {
	w := open(t, func(c *groups.Config) {
		c.Groups = groups.Filter{Include: regexp.MustCompile("^bank-"), Exclude: regexp.MustCompile("test$")}
		c.Topics = groups.Filter{Exclude: regexp.MustCompile("^secret")}
	}, kfake.SeedTopics(2, "secret.orders"))
	for _, group := range []string{"bank-a", "bank-b", "bank-test", "other"} {
		w.commit(group, "orders", 0, 0)
		w.commit(group, "secret.orders", 0, 0)
	}
	r := w.look()
	if names := groupNames(r); !slices.Equal(names, []string{"bank-a", "bank-b"}) || r.Topic("secret.orders") != nil || len(r.Group("bank-a").Readings) != 1 {
		t.Errorf("%v %+v", names, r)
	}
	small := w.watch(func(c *groups.Config) { c.Limits = groups.Limits{Partitions: 3, Readings: 4, Ages: 1} })
	r = small.Look(t.Context())
	if want := (groups.LeftOut{Topics: 1, Partitions: 2}); r.LeftOut != want {
		t.Errorf("left out %+v, want %+v", r.LeftOut, want)
	}
	small = w.watch(func(c *groups.Config) { c.Limits = groups.Limits{Partitions: 10, Readings: 4, Ages: 1} })
	r = small.Look(t.Context())
	if want := (groups.LeftOut{Groups: 2, Readings: 4}); r.LeftOut != want || !r.Group("other").LeftOut || r.Group("bank-a").LeftOut {
		t.Errorf("left out %+v, want %+v", r.LeftOut, want)
	}
}

func groupNames(r *groups.Round) (names []string) {
	for _, g := range r.Groups {
		names = append(names, g.Name)
	}
	return names
}

// knownLags is of how many partitions that groups read the lag is known.
func knownLags(r *groups.Round) (n int) {
	for _, g := range r.Groups {
		for _, one := range g.Readings {
			if _, known := one.Lag.Get(); known {
				n++
			}
		}
	}
	return n
}

// whole says whether every broker answered, in time, all that it was asked.
func whole(r *groups.Round) bool { return r.Answering() == 3 && len(r.Failures) == 0 }

// A broker that hangs costs one time-out and its own partitions and groups, which
// are unknown and not gone. Once it answers again, all is known again.
func TestABrokerThatHangsCostsItsOwn(t *testing.T) {
	w := open(t, func(c *groups.Config) { c.Timeout = 300 * time.Millisecond })
	for p := range int32(3) {
		w.produce(p, w.now, "a", "b")
	}
	// One group of each coordinator.
	group := map[int32]string{}
	for i := 0; len(group) < 3; i++ {
		name := "group-" + strconv.Itoa(i)
		if at := w.CoordinatorFor(name); group[at] == "" {
			group[at] = name
			for p := range int32(3) {
				w.commit(name, "orders", p, 1)
			}
		}
	}
	w.await("a round without a failure", whole)
	_, port, _ := net.SplitHostPort(w.ListenAddrs()[1])
	number, _ := strconv.Atoi(port)
	w.network.freeze(number, true)
	// The metadata may be asked of it first, and the others may be slow.
	r := w.await("what two brokers know", func(r *groups.Round) bool { return r.Answering() == 2 && knownLags(r) == 4 })
	if !strings.Contains(r.Brokers[1].Why, "deadline") || len(r.Failures) == 0 || r.Failures[len(r.Failures)-1].Kind != groups.KindTimeout {
		t.Errorf("brokers %+v, failures %+v", r.Brokers, r.Failures)
	}
	for coordinator, name := range group {
		for p := range int32(3) {
			one := reading(t, r, name, p)
			_, known := one.Lag.Get()
			if want := coordinator != 1 && p != 1; known != want {
				t.Errorf("%s of broker %d in partition %d: known %v, want %v: %+v", name, coordinator, p, known, want, one)
			}
			if !known && (one.Case != groups.Unseen || one.Why == "" || one.Verdict.State != verdicts.Unknown) {
				t.Errorf("%s: %+v", name, one)
			}
		}
	}
	w.network.freeze(number, false)
	r = w.await("what three brokers know", func(r *groups.Round) bool { return r.Answering() == 3 && knownLags(r) == 9 })
	if one := reading(t, r, group[1], 1); one.Lag != verdicts.Known(int64(1)) {
		t.Errorf("afterwards: %+v", one)
	}
}

// Of a cluster that is away nothing is known, and it says so.
func TestAClusterThatIsAwayIsUnknown(t *testing.T) {
	w := open(t, func(c *groups.Config) { c.Timeout = 300 * time.Millisecond })
	w.commit("group", "orders", 0, 0)
	w.await("the group", func(r *groups.Round) bool { return r.Group("group") != nil })
	w.Close()
	r := w.look()
	if r.Answering() != 0 || len(r.Topics) != 0 || len(r.Failures) == 0 || w.watched.Latest() != r {
		t.Errorf("%+v", r)
	}
	if g := r.Group("group"); g == nil || g.Why == "" || len(g.Readings) != 0 {
		t.Errorf("the group: %+v", g)
	}
}
