// Package sentinelle is the lookout: it watches the consumer groups of a Kafka
// cluster, looks at the bank from outside where there is one, and shows what it sees
// as a page. It asks the brokers, the services and Prometheus, keeps nothing but what
// becomes of each order, and answers also when nothing else does.
//
//   - sentinelle.go has its name, its settings and its wiring; the groups are watched
//     by internal/groups.
//   - lookout.go looks at the bank, once for all who look at the page; what it
//     finds is a snapshot, with figures.go from Prometheus and alerts.go from
//     its rules, which also shows them with their runbooks. slo.go says what is left
//     of the budgets of what is promised, verdict.go what all that amounts to: well,
//     trouble or unknown.
//   - peers.go asks the services; orders.go places, lists and follows orders, and
//     tells of their traces.
//   - faults.go breaks things on purpose, where somebody may.
//   - audit.go audits the bank on a schedule.
//   - way.go has internal/journeys follow the orders and internal/probe try their way, and
//     puts together what both say.
//   - groups.go says how the consumer groups fare, as a page and to programs.
//   - page.go answers browsers and keeps their pages up to date; draw.go draws
//     the map and the charts, words.go has the templates and what they write for people,
//     languages the sentences of those who do not read English.
package sentinelle

import (
	"context"
	_ "embed" // for the document
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/i18n"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
)

//go:embed openapi.yaml
var openAPI []byte

// Name is the service's name in labels, logs and traces.
const Name = "sentinelle"

const (
	// prometheusAnswer bounds an answer of Prometheus, in bytes.
	prometheusAnswer = 4 << 20
)

// Config has the settings of its own.
type Config struct {
	// Around is the bank that it looks at.
	Around service.Surroundings
	// TokenFile names a file with the token that the services want; "" for none.
	TokenFile string
	// Groups says what to watch of the cluster, but for the cluster itself and the
	// log, which the service knows.
	Groups groups.Config
	// Audit says how the bank is audited on a schedule.
	Audit AuditConfig
	// Journeys says which orders to follow, and how long they may take.
	Journeys Journeys
	// Probe says how the bank is probed.
	Probe Probe
}

// Definition is sentinelle.
func Definition(cfg Config) service.Definition {
	return service.Definition{
		Name: Name, Does: "watch consumer groups and the bank, and show them as a page", Address: "127.0.0.1:3005",
		Catalogue: slices.Concat(Catalogue(), auditCatalogue(), groups.Catalogue(), journeys.Catalogue(), probe.Catalogue(), traces.Catalogue(), faults.Catalogue()), OpenAPI: openAPI, Outside: true, Browsed: true,
		Group: banking.GroupSentinelle, Consumes: banking.ReadBy(banking.GroupSentinelle),
		Wire: func(_ context.Context, b *service.Base) error { return wire(b, cfg) },
	}
}

// Start starts sentinelle and returns when it can answer.
func Start(ctx context.Context, settings service.Settings, cfg Config) (*service.Service, error) {
	return service.Start(ctx, settings, Definition(cfg))
}

func wire(b *service.Base, cfg Config) error {
	asked, err := openPeers(b, cfg)
	if err != nil {
		return err
	}
	var from prometheus
	if cfg.Around.PrometheusURL != "" {
		client, err := promapi.New(promapi.Config{URL: cfg.Around.PrometheusURL, Timeout: refreshTimeout, MaxAnswer: prometheusAnswer})
		if err != nil {
			return err
		}
		b.Stack.OnStop("connections to Prometheus", func(context.Context) error { client.Close(); return nil })
		from = client
	}
	look, err := newLookout(cfg.Around, asked, from, b.Log, b.Telemetry.Instruments())
	if err != nil {
		return err
	}
	b.Stack.Go("lookout", look.Run)
	if err := startAudit(b, cfg); err != nil {
		return err
	}
	watched, err := watch(b, cfg.Groups)
	if err != nil {
		return err
	}
	prober, err := startProbe(b, cfg, asked, watched)
	if err != nil {
		return err
	}
	ways := &way{prober: prober}
	in, err := i18n.Open(languageFiles(), cfg.Around.Language)
	if err != nil {
		return err
	}
	views, err := parseViews(in)
	if err != nil {
		return err
	}
	p := &page{
		cluster: watched,
		around:  cfg.Around, version: b.Version, lookout: look, peers: asked, graphs: &graphs{from: from, in: in, now: time.Now},
		followed: &followed{}, way: ways, views: views, in: in, log: b.Log, now: time.Now,
	}
	p.serve(b.Router)
	if err := measureFaults(b, cfg.Around.Faults); err != nil {
		return err
	}
	followJourneys(b, cfg, ways)
	if !hasBank(cfg.Around) {
		return nil
	}
	return serveTraces(b, cfg.Around.Traces)
}

// watch watches the cluster's groups, in the background.
func watch(b *service.Base, cfg groups.Config) (*groups.Collector, error) {
	cfg.Kafka, cfg.Log = b.Kafka, b.Log
	watched, err := groups.New(cfg)
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("connections to Kafka", func(context.Context) error { watched.Close(); return nil })
	if err := watched.Export(b.Telemetry); err != nil {
		return nil, err
	}
	b.Stack.Go("groups", watched.Run)
	return watched, nil
}
