package groups_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// documented are the rights that docs/groups.md has the user given.
func documented(t testing.TB) []testkafka.Grant {
	t.Helper()
	all := testkafka.Grants(repo.Read(t, "docs/groups.md"), "sentinelle")
	if len(all) != 5 {
		t.Fatalf("the document gives %v", all)
	}
	return all
}

// watcher is what a user with some rights sees.
type watcher struct {
	look func() *groups.Round
	page *telemetrytest.Recorder
	log  *bytes.Buffer
}

// restricted is a case: which rights are missing, and what is seen then.
type restricted struct {
	name    string
	missing func(testkafka.Grant) bool
	seen    func(*groups.Round) bool // what a round comes to
	unseen  groups.Part              // what is then said to be unseen of the topic orders, "" for nothing
	logged  string
	real    bool // kfake lists no group that the user may not describe
}

// restrictions are the table of docs/groups.md, a right less each. The group billing has a
// member that reads the topic orders, of which two records are left.
func restrictions() []restricted {
	one := func(r *groups.Round) *groups.Reading {
		if g := r.Group("billing"); g != nil && len(g.Readings) > 0 {
			return g.Readings[0]
		}
		return &groups.Reading{}
	}
	lagging := func(r *groups.Round) bool { return one(r).Lag == number(2) && len(r.Failures) == 0 }
	aged := func(r *groups.Round) bool { _, known := one(r).Age.Get(); return known }
	kept := func(r *groups.Round) bool { _, known := one(r).Verdict.ToLoss.Get(); return known }
	is := func(operation, resource string) func(testkafka.Grant) bool {
		return func(g testkafka.Grant) bool { return g.Operation == operation && g.Resource == resource }
	}
	return []restricted{
		{"every right", func(testkafka.Grant) bool { return false }, func(r *groups.Round) bool {
			return lagging(r) && aged(r) && kept(r) && r.Group("shipping") != nil && len(r.Forbidden) == 0
		}, "", "", false},
		{"none on the cluster", is("Describe", "cluster"), func(r *groups.Round) bool { return lagging(r) && aged(r) && kept(r) }, "", "", false},
		{"no reading", is("Read", "topic"), func(r *groups.Round) bool { return lagging(r) && !aged(r) }, groups.PartAges, "lag in seconds", false},
		{"no settings", is("DescribeConfigs", "topic"), func(r *groups.Round) bool { return lagging(r) && aged(r) && !kept(r) }, groups.PartRetention, "retention", false},
		{"no topics", func(g testkafka.Grant) bool { return g.Resource == "topic" }, func(r *groups.Round) bool {
			g := r.Group("billing")
			return g != nil && len(r.Topics) == 0 && len(g.Readings) == 0 && len(r.Forbidden) > 0
		}, groups.PartTopic, "topics", false},
		{"no groups", is("Describe", "group"), func(r *groups.Round) bool {
			g := r.Group("billing")
			return g != nil && strings.Contains(g.Why, "AUTHORIZATION") && !g.MembersKnown && r.Topic("orders") != nil &&
				slices.ContainsFunc(r.Failures, func(f groups.Failure) bool { return f.Kind == groups.KindAuthorization })
		}, "", "a part of the cluster cannot be seen", true},
		{"neither groups nor cluster", func(g testkafka.Grant) bool { return g.Resource != "topic" }, func(r *groups.Round) bool {
			return len(r.Groups) == 0 && r.Topic("orders") != nil
		}, "", "", false},
	}
}

// await looks until the case is seen.
func (c restricted) await(t *testing.T, w watcher) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		r := w.look()
		if c.seen(r) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("never seen; at last:\n%s", describe(r))
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// check looks until the case is seen, and checks what is said of it.
func (c restricted) check(t *testing.T, w watcher) {
	t.Helper()
	c.await(t, w)
	for _, part := range []groups.Part{groups.PartTopic, groups.PartAges, groups.PartRetention} {
		said := w.page.Metric("sentinelle_missing_rights", map[string]string{"part": string(part)})
		if (said > 0) != (part == c.unseen) {
			t.Errorf("of %s %v topics are said not to be seen", part, said)
		}
	}
	if c.unseen == groups.PartAges && w.page.Metric("sentinelle_unknown_ages", nil) == 0 {
		t.Error("no age is said to be unknown")
	}
	if !strings.Contains(w.log.String(), c.logged) || c.logged == "" && strings.Contains(w.log.String(), "no right") {
		t.Errorf("logged:\n%s", w.log)
	}
}

// newWatcher watches with a user's rights, and shows it on a page.
func newWatcher(t *testing.T, cfg groups.Config) watcher {
	t.Helper()
	w := watcher{page: telemetrytest.New(t, "sentinelle", groups.Catalogue()), log: &bytes.Buffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(w.log, nil))
	watched, err := groups.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watched.Close)
	if err := watched.Export(w.page.Telemetry); err != nil {
		t.Fatal(err)
	}
	w.look = func() *groups.Round { return watched.Look(t.Context()) }
	return w
}

// With the rights of the document everything is seen, and with one less it is said what is
// not.
func TestRights(t *testing.T) {
	const mechanism, password = "SCRAM-SHA-512", "correct horse"
	for _, c := range restrictions() {
		if c.real {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(), kfake.EnableACLs(),
				kfake.Superuser(mechanism, "admin", password), kfake.User(mechanism, "sentinelle", password, allowed(documented(t), c.missing)...))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			populate(t, func(options ...kgo.Opt) *kgo.Client {
				client, err := kgo.NewClient(append(options, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics(),
					kgo.SASL(scram.Auth{User: "admin", Pass: password}.AsSha512Mechanism()))...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(client.Close)
				return client
			})
			w := newWatcher(t, groups.Config{Kafka: kafka.Config{
				Brokers: cluster.ListenAddrs(), ClientID: "test",
				Security: kafka.Security{Mechanism: mechanism, User: "sentinelle", Password: secret.Of(password)},
			}})
			c.check(t, w)
		})
	}
}

// allowed are grants as kfake takes them.
func allowed(all []testkafka.Grant, missing func(testkafka.Grant) bool) (out []kfake.ACL) {
	for _, g := range all {
		if missing(g) {
			continue
		}
		a := kfake.ACL{Name: g.Name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Allow: true}
		switch g.Resource {
		case "topic":
			a.Resource = kmsg.ACLResourceTypeTopic
		case "group":
			a.Resource = kmsg.ACLResourceTypeGroup
		default:
			a.Resource, a.Name = kmsg.ACLResourceTypeCluster, "kafka-cluster"
		}
		switch g.Operation {
		case "Read":
			a.Operation = kmsg.ACLOperationRead
		case "Describe":
			a.Operation = kmsg.ACLOperationDescribe
		case "DescribeConfigs":
			a.Operation = kmsg.ACLOperationDescribeConfigs
		}
		out = append(out, a)
	}
	return out
}

// populate has two groups read the topic orders, of which three records are written: billing has one
// of them and a member that reads on no more.
func populate(t *testing.T, client func(...kgo.Opt) *kgo.Client) {
	t.Helper()
	writer := client(kgo.DefaultProduceTopic("orders"))
	for range 3 {
		if err := writer.ProduceSync(t.Context(), kgo.StringRecord("record")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, group := range []string{"shipping", "billing"} {
		member := client(kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
		fetched := member.PollRecords(t.Context(), 1)
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		if err := member.CommitRecords(t.Context(), fetched.Records()...); err != nil {
			t.Fatal(err)
		}
	}
}
