// Package service builds a service out of the parts that all have:
// telemetry, storage, Kafka, HTTP. What is particular to one service is its
// Definition; everything else is started, watched and stopped here, the same
// way for all.
//
// Its files: service.go has the steps of a start, in order, and so of a stop;
// store.go opens and watches a service's storage, prune.go removes what is old
// from it; consume.go runs its consumer, and watches for partitions that no
// instance reads; join.go is how one from outside the bank consumes; ready.go says
// whether it can do its work; orderlog.go logs what becomes of orders; reload.go
// reads tokens and certificates again when they change; metrics.go lists what all of
// them measure; settings.go has what can be set.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/loopback"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

const (
	// healthInterval is how old readiness's knowledge of Kafka may be.
	healthInterval = 2 * time.Second
	// flushTime is how long a collector that hangs may delay a stop, and
	// flushShare its share of the time that the stop has left, at most: other
	// services may wait for it.
	flushTime  = 2 * time.Second
	flushShare = 4
)

// Definition is what distinguishes one service from another.
type Definition struct {
	Name       string              // in settings, labels, logs and traces
	Does       string              // what it does, in a few words for a list
	Address    string              // where it listens by default
	Catalogue  telemetry.Catalogue // added to the common metrics
	Migrations fs.FS               // of the service's own tables, in a folder migrations; nil for none
	Group      string              // consumer group, "" for none
	Consumes   []string
	Produces   []string
	OpenAPI    []byte // describes the routes that Wire adds; see [httpapi.OpenAPI]
	// Outside: it looks at the bank and is no part of it. It has no storage, does
	// not wait for Kafka, and is ready whatever becomes of them; of its [Base],
	// Store, Control and Topics are empty. What it consumes it does on a base that it
	// joins with: see [Base.Join].
	Outside bool
	// Browsed: browsers come here, which send a token as the password of HTTP Basic.
	Browsed bool
	// Wire adds routes, publishers and consumers. What it starts it puts on
	// the base's stack.
	Wire func(context.Context, *Base) error
}

// Base is what a service's own part is wired to.
type Base struct {
	Definition Definition
	Stack      *lifecycle.Stack
	Telemetry  *telemetry.Telemetry
	Instrument *otelkafka.Instrumentation
	Store      *storage.Store
	Kafka      kafka.Config
	Control    *kafka.Client
	Topics     *kafka.Identity // of those that it reads and writes
	Router     *httpapi.Router
	Ready      *httpapi.Readiness
	Log        *slog.Logger
	Orders     *OrderLog // of lines of which there is one for each order
	Fault      *fault.Injector
	Retention  time.Duration
	Version    string // the program's

	reloads  *reloads
	settings Settings
}

// Service is a running service.
type Service struct {
	base      *Base
	listeners httpapi.Listeners
	edge      edge
	ready     *readiness
	gate      gate
	server    *httpapi.Server
}

// edge is what stands between a service and its clients.
type edge struct {
	tokens      *httpapi.Tokens      // nil: no token is needed
	certificate *httpapi.Certificate // nil: no TLS
}

// Start starts a service and returns once it serves. An error leaves nothing
// running.
func Start(ctx context.Context, settings Settings, def Definition) (*Service, error) {
	settings = settings.withDefaults()
	if err := settings.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", def.Name, err)
	}
	s := &Service{gate: gate{decided: make(chan struct{})}, base: &Base{
		Definition: def, Stack: &lifecycle.Stack{BeforeCrash: settings.flushLog}, Ready: &httpapi.Readiness{}, Fault: settings.Fault, Retention: settings.Retention, Version: settings.Version,
		Kafka: settings.kafka(def.Name), settings: settings,
	}}
	// What every service does at its start. Each step puts its undoing on the
	// stack: a stop goes through them from the last to the first.
	for _, step := range []func(context.Context, Settings) error{
		s.observe,                  // so that what follows is logged and measured
		s.guard,                    // before anybody can ask
		s.listen,                   // a port in use is an error before anything else happens
		s.inside(s.base.openStore), // lock, migrations
		s.inside(s.base.connect),   // Kafka, the topics, whether the storage belongs to them
		s.route,                    // the common routes
		s.serve,                    // health, readiness and metrics, while the rest may take its time
		s.wire,                     // the service's own part: routes, publisher, consumer
		s.open,                     // the own routes; what came in meanwhile has waited
	} {
		if err := step(ctx, settings); err != nil {
			s.gate.shut()
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), settings.KafkaPatience)
			_ = s.Stop(stopping) // what failed first is what matters
			cancel()
			return nil, fmt.Errorf("%s: %w", def.Name, err)
		}
	}
	s.base.Log.DebugContext(ctx, "started", "url", s.URL())
	return s, nil
}

// kafka is how a service reaches Kafka.
func (s Settings) kafka(name string) kafka.Config {
	return kafka.Config{
		Brokers: s.Brokers, ClientID: name, SessionTimeout: s.KafkaSession, Security: s.KafkaSecurity, Patience: s.KafkaPatience, Dialer: s.KafkaDialer,
	}
}

// inside is a step of a start that only the bank's own services take.
func (s *Service) inside(step func(context.Context, Settings) error) func(context.Context, Settings) error {
	if s.base.Definition.Outside {
		return func(context.Context, Settings) error { return nil }
	}
	return step
}

// URL is where the service answers; of several addresses it is the first.
func (s *Service) URL() string { return s.edge.scheme() + s.listeners[0].Addr().String() }

func (e edge) scheme() string {
	if e.certificate != nil {
		return "https://"
	}
	return "http://"
}

// Name is the service's name.
func (s *Service) Name() string { return s.base.Definition.Name }

// Ready returns nil once the service can do its work, else what it waits for.
func (s *Service) Ready(ctx context.Context) error { return s.ready.look(ctx) }

// Failed reports a part that ended by itself: the service should be stopped.
func (s *Service) Failed() <-chan error { return s.base.Stack.Failed() }

// Stop takes no more requests, finishes what is under way, and closes
// everything, within ctx.
func (s *Service) Stop(ctx context.Context) error {
	if err := s.base.Stack.Stop(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	return nil
}

// observe sets telemetry up: metrics and logs always, traces and logs to a
// collector where the standard OTEL_* variables ask for it.
func (s *Service) observe(ctx context.Context, settings Settings) error {
	b := s.base
	exporters, err := otlp.FromEnvironment(ctx)
	if err != nil {
		return err
	}
	b.Telemetry, err = telemetry.Setup(ctx, telemetry.Config{
		Service: b.Definition.Name, Version: settings.Version, Catalogue: slices.Concat(b.Definition.Catalogue, Catalogue()),
		LogWriter: settings.LogWriter, LogFormat: settings.LogFormat, LogLevel: settings.LogLevel,
		SpanExporters: exporters.Spans, LogExporters: exporters.Logs, Keeper: settings.Keeper,
		MaxScrapes: -1, // the router bounds them
	})
	if err != nil {
		return errors.Join(err, exporters.Shutdown(ctx))
	}
	b.Log = httpapi.LogRequestIDs(b.Telemetry.Logger())
	if b.Orders, err = NewOrderLog(ctx, b.Log, b.Telemetry.Instruments(), settings.LogLeftOut); err != nil {
		return err
	}
	if b.Kafka.Security.Readable() {
		b.Log.WarnContext(ctx, "the password for Kafka crosses the network unencrypted: SASL PLAIN without TLS")
	}
	b.Stack.OnStop("telemetry", func(ctx context.Context) error {
		flush(ctx, b.Telemetry, b.Log)
		return nil
	})
	s.ready, err = newReadiness(b.Telemetry.Instruments(), b.Ready.Look)
	if err != nil {
		return err
	}
	b.reloads, err = newReloads(b.Telemetry.Instruments())
	if err != nil {
		return err
	}
	if b.Definition.Outside {
		return nil // what it says of Kafka depends on whether it joins
	}
	b.Instrument, err = b.instrument(false)
	return err
}

// flush stops telemetry in its share of the time that a stop has left. What does
// not get out in it is logged and is no failed stop: the service has done its work,
// and a collector that hangs does not decide over a process' exit status.
func flush(ctx context.Context, t interface{ Shutdown(context.Context) error }, log *slog.Logger) {
	most := flushTime
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/flushShare)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if err := t.Shutdown(ctx); err != nil {
		log.WarnContext(ctx, "telemetry did not stop in its time", "error", err)
	}
}

// instrument makes what records are measured with.
func (b *Base) instrument(linked bool) (*otelkafka.Instrumentation, error) {
	return otelkafka.New(otelkafka.WithTelemetry(b.Telemetry), otelkafka.Options{
		ConsumerGroup: b.Definition.Group, Produces: b.Definition.Produces, Consumes: b.Definition.Consumes, LinkRecords: linked,
	})
}

// guard reads the tokens and the certificate, and keeps them up to date: before
// the service listens, so that no request passes without them.
func (s *Service) guard(ctx context.Context, settings Settings) (err error) {
	b, cfg := s.base, settings.HTTP
	if cfg.TokensFile != "" {
		if s.edge.tokens, err = httpapi.OpenTokens(cfg.TokensFile); err != nil {
			return err
		}
		b.keepReading("tokens", s.edge.tokens)
	}
	if cfg.CertFile != "" {
		if s.edge.certificate, err = httpapi.OpenCertificate(cfg.CertFile, cfg.KeyFile); err != nil {
			return err
		}
		b.keepReading("certificate", s.edge.certificate)
		if err := b.measureExpiry(s.edge.certificate); err != nil {
			return err
		}
	}
	if cfg.TokensFile != "" && cfg.CertFile == "" && !loopback.All(settings.Address) {
		b.Log.WarnContext(ctx, "clients' tokens cross the network unencrypted: there is no certificate")
	}
	return nil
}

// listen binds; requests wait until [Service.serve], those for the own routes until [Service.open].
func (s *Service) listen(ctx context.Context, settings Settings) (err error) {
	failures, err := s.base.Telemetry.Instruments().Int64Counter(httpapi.AcceptFailuresTotal)
	if err != nil {
		return err
	}
	failures.Add(ctx, 0) // seen as zero before the first
	s.listeners, err = httpapi.ListenAll(ctx, settings.Address)
	if err != nil {
		return err
	}
	failed := httpapi.Failures(s.base.Log, func() { failures.Add(context.Background(), 1) })
	s.listeners = s.listeners.Limit(settings.HTTP.MaxConnections, failed)
	s.base.Stack.OnStop("listener", func(context.Context) error {
		_ = s.listeners.Close() // the server has usually closed it
		return nil
	})
	return nil
}

// connect waits for Kafka, makes the topics, and checks that the storage
// belongs to them.
func (b *Base) connect(ctx context.Context, _ Settings) (err error) {
	b.Control, err = kafka.Connect(ctx, b.Kafka)
	if err != nil {
		return err
	}
	b.Stack.OnStop("kafka", func(context.Context) error { return b.Control.Close() })
	if err := b.showClient("admin", b.Control.Config().MetricRegistry); err != nil {
		return err
	}
	if _, err := kafka.EnsureTopics(ctx, b.Control, banking.Topics()); err != nil {
		return err
	}
	topics := slices.Concat(b.Definition.Consumes, b.Definition.Produces)
	b.compareTopics(ctx, topics)
	identities, err := kafka.Identities(ctx, b.Control, topics)
	if err != nil {
		return err
	}
	if err := b.Store.Stamp(ctx, identities); err != nil {
		return err
	}
	b.Topics = kafka.NewIdentity(b.Control, topics, identities)
	inSync, err := kafka.InSync(ctx, b.Control, b.Definition.Produces)
	if err != nil { // it may not be ours to ask
		b.Log.WarnContext(ctx, "readiness cannot know how many replicas writing needs", "error", err)
	}
	health := kafka.NewHealth(b.Topics, healthInterval, inSync)
	b.Stack.Go("kafka health", health.Run)
	b.Ready.Add("kafka", health.Check)
	return nil
}

// compareTopics warns of settings with which the promise is not kept in full.
func (b *Base) compareTopics(ctx context.Context, names []string) {
	own := slices.DeleteFunc(banking.Topics(), func(t banking.Topic) bool { return !slices.Contains(names, t.Name) })
	concerns, err := kafka.CheckTopics(ctx, b.Control, own)
	if err != nil {
		b.Log.WarnContext(ctx, "the topics' settings cannot be compared with what is needed", "error", err)
	}
	for _, c := range concerns {
		b.Log.WarnContext(ctx, "a topic's setting endangers what is promised", "topic", c.Topic, "setting", c.Text, "fix", c.Fix)
	}
}

func (s *Service) route(ctx context.Context, settings Settings) error {
	b := s.base
	panics, err := b.Telemetry.Instruments().Int64Counter(httpapi.PanicsTotal)
	if err != nil {
		return err
	}
	panics.Add(ctx, 0) // seen as zero before the first
	b.Router = httpapi.NewRouter(httpapi.Config{
		Service: b.Definition.Name, Version: settings.Version, Metrics: b.Telemetry.MetricsHandler(),
		Ready: b.Ready, Log: b.Log, OpenAPI: b.Definition.OpenAPI, Tokens: s.edge.tokens, Browsed: b.Definition.Browsed,
		Panicked:      func(ctx context.Context) { panics.Add(ctx, 1) },
		MaxConcurrent: settings.HTTP.MaxConcurrent, MaxBody: banking.MaxBody,
	})
	return nil
}

func (s *Service) wire(ctx context.Context, _ Settings) error {
	return s.base.Definition.Wire(ctx, s.base)
}

// serve answers from here on what is asked about the service itself.
func (s *Service) serve(context.Context, Settings) error {
	b := s.base
	b.Ready.Hold("starting")
	handler := httpapi.Identify(s.gate.before(b.Router, telemetry.HTTPMiddleware(b.Telemetry, httpapi.Route, telemetry.WithBaggage())(b.Router)))
	s.server = httpapi.NewServer(handler, b.Log, httpapi.ServerConfig{Certificate: s.edge.certificate})
	b.Stack.Go("http server", func(ctx context.Context) error { return s.server.Serve(ctx, s.listeners...) })
	b.Stack.OnStop("http server's connections", s.server.Shutdown) // where the start ends before the own routes are open
	return nil
}

// open lets requests through to the service's own routes. They are finished
// before what they need is stopped.
func (s *Service) open(context.Context, Settings) error {
	b := s.base
	b.Ready.Release()
	s.gate.open()
	b.Stack.OnStop("http requests", s.server.Shutdown)
	b.Stack.Go("readiness", s.ready.run) // the last part: it ends before requests are turned away
	return nil
}

// gate holds requests for routes that a service has yet to add.
type gate struct {
	decided chan struct{} // closed once the routes are there, or never will be
	once    sync.Once
	opened  atomic.Bool
}

func (g *gate) open() { g.opened.Store(true); g.shut() }

// shut turns away those who wait, unless the gate is open.
func (g *gate) shut() { g.once.Do(func() { close(g.decided) }) }

// before is next behind the gate.
func (g *gate) before(router *httpapi.Router, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.opened.Load() && !router.Knows(r) {
			select {
			case <-g.decided:
			case <-r.Context().Done(): // the client has gone
			}
			if !g.opened.Load() {
				httpapi.WriteProblem(w, httpapi.Problem{Type: httpapi.NotReady, Detail: "The service could not start."})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// flushLog writes lines of the log that wait, where the writer lets them.
func (s Settings) flushLog() {
	if w, ok := s.LogWriter.(interface{ Flush() error }); ok {
		_ = w.Flush() // there is nobody to tell
	}
}
