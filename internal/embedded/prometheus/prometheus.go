// Package prometheus is the Prometheus that Vigie brings along, so that what the
// services measure can be seen where there is Go and nothing else. It is
// Prometheus' own storage, scraper, rule engine, PromQL and HTTP API on the
// configuration and the rules that monitoring/ ships, and the only importer of
// them.
//
// prometheus.go is what others see of it, puts its parts together and starts them.
// What a program that carries Prometheus must see to besides stands
// around that: store.go sets aside what is damaged of its folder; config.go puts the
// targets that there are in the place of the shipped lists of files; rules.go leaves
// out the rules about parts that are not there, and writes what fires to the log;
// web.go answers, and bounds what an answer may cost.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/util/logging"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Name is the server's name in errors, logs and settings.
const Name = "prometheus"

// Config says what the server scrapes, where it keeps it, and where it answers.
type Config struct {
	// Address is host:port; port 0 picks a free one.
	Address string
	// Dir is the folder of what is stored.
	Dir string
	// Files have prometheus.yml and the rules that it names, as monitoring.Files.
	Files fs.FS
	// Metrics are the metrics that the services have, histograms without _bucket,
	// _sum and _count. Rules that need others are left out. nil: they are not
	// known, and rules are judged by the jobs that they name.
	Metrics []string
	// CertFile has the services' certificate (PEM) where they speak TLS, "" where
	// they do not. It is read again when it changes.
	CertFile string
	// Alertmanagers are sent the alerts, and are scraped: http or https URLs.
	Alertmanagers []string
	// Log is told of alerts, and of what goes wrong. nil: nobody.
	Log *slog.Logger
}

// Target is a service to be scraped.
type Target struct {
	Service string // the value of the label service
	URL     string // http or https, without a path
}

// Server is a running Prometheus.
type Server struct {
	cfg     Config
	stack   lifecycle.Stack
	address string // host:port, where it answers
	engine  *engine
	leftOut []string
	page    atomic.Pointer[string]

	scraping sync.Mutex // while targets change
	config   atomic.Pointer[config.Config]
}

// Start listens, opens what was stored, and begins to evaluate the rules. It
// scrapes itself and the Alertmanagers; [Server.Scrape] says what else. Of an
// address that cannot be had it returns [httpapi.ErrAddress], and of a folder
// that another process has [storage.ErrInUse].
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, errors.Join(err, s.stack.Stop(context.WithoutCancel(ctx))))
	}
	return s, nil
}

// Scrape has the services be scraped from now on, in place of those before.
func (s *Server) Scrape(targets []Target) error {
	s.scraping.Lock()
	defer s.scraping.Unlock()
	effective, err := s.effective(targets)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if err := s.engine.scrape(effective); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	s.config.Store(effective)
	return nil
}

// ShowPage has the server's own page lead to the one that shows the system.
func (s *Server) ShowPage(url string) { s.page.Store(&url) }

// Name is [Name].
func (s *Server) Name() string { return Name }

// URL is where the server answers.
func (s *Server) URL() string { return "http://" + s.address }

// LeftOut names the rules that are not evaluated, each with what it lacks: alerts
// before recordings. Where a rule is evaluated in part, it says so.
func (s *Server) LeftOut() []string { return slices.Clone(s.leftOut) }

// Failed reports a part that ended by itself: the server should be stopped.
func (s *Server) Failed() <-chan error { return s.stack.Failed() }

// Stop stops everything within ctx; what has been scraped is on disk then.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.stack.Stop(ctx); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return nil
}

// What a query may cost: the process has other work. The rest is as in Prometheus
// itself, whose defaults stand in its command alone.
const (
	queryTimeout    = 30 * time.Second
	querySamples    = 5_000_000 // in memory at once, of 16 bytes each
	lookback        = 5 * time.Minute
	outageTolerance = time.Hour // after which an alert waits anew
	forGracePeriod  = 10 * time.Minute
	resendDelay     = time.Minute
	alertQueue      = 1000 // that may wait for an Alertmanager
)

// engine is Prometheus.
type engine struct {
	log           *slog.Logger
	registry      *client.Registry
	syntax        parser.Parser
	store         *store
	queries       *promql.Engine
	scraper       *scrape.Manager
	alertmanagers *notifier.Manager
	ruler         *rules.Manager
	endRules      context.CancelFunc // cuts off what is being evaluated

	// What to scrape, and whom to notify; one may wait to be taken.
	targets, notified chan map[string][]*targetgroup.Group
}

// start starts the parts so that each is stopped before what it needs.
func (s *Server) start(ctx context.Context) error {
	listeners, err := httpapi.ListenAll(ctx, s.cfg.Address)
	if err != nil {
		return err
	}
	s.stack.OnStop("listener", func(context.Context) error {
		_ = listeners.Close() // where it serves already, the server has closed it
		return nil
	})
	s.address = reachable(listeners[0].Addr().String())
	lock, err := storage.LockFolder(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.stack.OnStop("folder", func(context.Context) error { return lock.Close() })
	effective, err := s.effective(nil)
	if err != nil {
		return err
	}
	s.config.Store(effective)
	if err := s.startEngine(); err != nil {
		return err
	}
	s.serve(listeners)
	s.runEngine()
	return s.Scrape(nil)
}

// startEngine opens what was stored and makes the engine's parts, none of which
// works yet.
func (s *Server) startEngine() error {
	deduper := logging.Dedupe(slog.New(quiet{s.cfg.Log.Handler()}), time.Minute)
	s.stack.OnStop("engine's log", func(context.Context) error { deduper.Stop(); return nil })
	e := &engine{
		log: slog.New(deduper), registry: client.NewRegistry(), syntax: parser.NewParser(parser.Options{}),
		targets: make(chan map[string][]*targetgroup.Group, 1), notified: make(chan map[string][]*targetgroup.Group, 1),
	}
	s.engine = e
	e.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	cfg := s.config.Load()
	var err error
	if e.store, err = openStore(s.cfg.Dir, cfg.StorageConfig.ExemplarsConfig, s.cfg.Log, e.log); err != nil {
		return err
	}
	s.stack.OnStop("storage", func(context.Context) error { return e.store.Close() })
	e.queries = promql.NewEngine(promql.EngineOpts{
		Logger: e.log, Reg: e.registry, MaxSamples: querySamples, Timeout: queryTimeout, LookbackDelta: lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Duration(cfg.GlobalConfig.EvaluationInterval).Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, Parser: e.syntax,
	})
	e.scraper, err = scrape.NewManager(&scrape.Options{
		DiscoveryReloadOnStartup: true, DiscoveryReloadInterval: model.Duration(time.Second),
	}, e.log, nil, nil, e.store, e.registry)
	if err != nil {
		return fmt.Errorf("make scraper: %w", err)
	}
	e.alertmanagers = notifier.NewManager(&notifier.Options{
		QueueCapacity: alertQueue, DrainOnShutdown: true, Registerer: e.registry,
	}, model.UTF8Validation, e.log)
	if err := e.alertmanagers.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("set Alertmanagers: %w", err)
	}
	return s.makeRules(cfg)
}

// buildInfo is the metric by which a Prometheus says which it is.
func buildInfo() client.Collector {
	v := version()
	return client.NewGaugeFunc(client.GaugeOpts{
		Name:        "prometheus_build_info",
		Help:        "A metric with a constant '1' value labeled by version, revision and goversion from which prometheus was built.",
		ConstLabels: client.Labels{"version": v.Version, "revision": v.Revision, "goversion": v.GoVersion},
	}, func() float64 { return 1 })
}

// runEngine has the parts work. They are stopped in the opposite order: first the
// rules, which would otherwise fire because nothing is scraped any more.
func (s *Server) runEngine() {
	e := s.engine
	s.own("notifier", func() { e.alertmanagers.Run(e.notified) }, func(context.Context) { e.alertmanagers.Stop() })
	found := map[string][]*targetgroup.Group{}
	for name, one := range s.config.Load().AlertingConfig.AlertmanagerConfigs.ToMap() {
		found[name] = static(one.ServiceDiscoveryConfigs)
	}
	e.notified <- found
	targets := e.targets
	s.own("scraper", func() {
		_ = e.scraper.Run(targets) // until no more come
		e.scraper.Stop()
	}, func(context.Context) { s.endTargets() })
	s.own("rules", e.ruler.Run, func(ctx context.Context) {
		defer e.endRules()
		hurry := context.AfterFunc(ctx, e.endRules)
		defer hurry()
		e.ruler.Stop()
	})
	s.stack.Go("check of blocks", e.store.verify)
}

// endTargets leaves the scraper none. One that is stopped while it still has some
// to begin with may begin afterwards, and scrape for ever.
func (s *Server) endTargets() {
	s.scraping.Lock()
	defer s.scraping.Unlock()
	e := s.engine
	select {
	case <-e.targets: // nobody has taken them
	default:
	}
	e.targets <- nil
	close(e.targets)
	e.targets = make(chan map[string][]*targetgroup.Group, 1) // what comes now is late
}

// own runs a part of the engine's until its stop has ended it.
func (s *Server) own(name string, run func(), stop func(context.Context)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	s.stack.OnStop(name, func(ctx context.Context) error {
		stop(ctx)
		<-done
		return nil
	})
}

// scrape has the targets of a configuration be scraped.
func (e *engine) scrape(cfg *config.Config) error {
	if err := e.scraper.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("set what is scraped: %w", err)
	}
	found := map[string][]*targetgroup.Group{}
	for _, job := range cfg.ScrapeConfigs {
		found[job.JobName] = static(job.ServiceDiscoveryConfigs)
	}
	select {
	case <-e.targets: // nobody has taken them, and nobody needs to
	default:
	}
	e.targets <- found
	return nil
}

// static are the targets that a configuration lists itself.
func static(found discovery.Configs) []*targetgroup.Group {
	for _, one := range found {
		if groups, ok := one.(discovery.StaticConfig); ok {
			return groups
		}
	}
	return nil
}

// quiet lets through what the engine has to complain of, and the rest where
// debugging is asked for.
type quiet struct{ next slog.Handler }

// Enabled implements [slog.Handler].
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.next.Enabled(ctx, level) || q.next.Enabled(ctx, slog.LevelDebug)
}

// Handle implements [slog.Handler].
func (q quiet) Handle(ctx context.Context, r slog.Record) error { return q.next.Handle(ctx, r) }

// WithAttrs implements [slog.Handler].
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.next.WithAttrs(attrs)} }

// WithGroup implements [slog.Handler].
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.next.WithGroup(name)} }
