// Package service builds a service out of the parts that all four have:
// telemetry, storage, Kafka, HTTP. What is particular to one service is its
// Definition; everything else is started, watched and stopped here, the same
// way for all.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

const (
	// healthInterval is how old readiness's knowledge of Kafka may be.
	healthInterval = 2 * time.Second
	// flushTime bounds what a collector that hangs adds to a stop, which
	// other services may wait for.
	flushTime = 2 * time.Second
)

// Definition is what distinguishes one service from another.
type Definition struct {
	Name       string              // in settings, labels, logs and traces
	Does       string              // what it does, in a few words for a list
	Address    string              // where it listens unless told otherwise
	Catalogue  telemetry.Catalogue // added to the common metrics
	Migrations fs.FS               // of the service's own tables, in a folder migrations; nil for none
	Group      string              // consumer group, "" for none
	Consumes   []string
	Produces   []string
	OpenAPI    []byte // describes the routes that Wire adds; see [httpapi.OpenAPI]
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
	Control    sarama.Client
	Router     *httpapi.Router
	Ready      *httpapi.Readiness
	Log        *slog.Logger
	Fault      *fault.Injector
	Retention  time.Duration
}

// Service is a running service.
type Service struct {
	base      *Base
	listeners httpapi.Listeners
	edge      edge
	ready     *readiness
}

// Start starts a service and returns once it serves. An error leaves nothing
// running.
func Start(ctx context.Context, settings Settings, def Definition) (*Service, error) {
	settings = settings.withDefaults()
	if err := settings.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", def.Name, err)
	}
	s := &Service{base: &Base{Definition: def, Stack: &lifecycle.Stack{}, Ready: &httpapi.Readiness{}, Fault: settings.Fault, Retention: settings.Retention}}
	for _, step := range []func(context.Context, Settings) error{
		s.observe, s.open, s.listen, s.store, s.connect, s.route, s.wire, s.serve,
	} {
		if err := step(ctx, settings); err != nil {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), settings.KafkaPatience)
			_ = s.Stop(stopping) // what failed first is what matters
			cancel()
			return nil, fmt.Errorf("%s: %w", def.Name, err)
		}
	}
	s.base.Log.DebugContext(ctx, "started", "url", s.URL())
	return s, nil
}

// URL is where the service answers; of several addresses it is the first.
func (s *Service) URL() string { return s.edge.scheme() + s.listeners[0].Addr().String() }

// Name is the service's name.
func (s *Service) Name() string { return s.base.Definition.Name }

// Ready returns nil once the service can do its work, else what it waits for.
func (s *Service) Ready(ctx context.Context) error { return s.ready.look(ctx) }

// Failed tells of a part that ended by itself: the service should be stopped.
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
		Service: b.Definition.Name, Version: settings.Version, Catalogue: slices.Concat(b.Definition.Catalogue, Common(), Catalogue()),
		LogWriter: settings.LogWriter, LogFormat: settings.LogFormat, LogLevel: settings.LogLevel,
		SpanProcessors: settings.SpanProcessors, SpanExporters: exporters.Spans, LogExporters: exporters.Logs,
	})
	if err != nil {
		return errors.Join(err, exporters.Shutdown(ctx))
	}
	b.Log = httpapi.LogRequestIDs(b.Telemetry.Logger())
	b.Stack.OnStop("telemetry", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, flushTime)
		defer cancel()
		return b.Telemetry.Shutdown(ctx)
	})
	s.ready, err = newReadiness(b.Telemetry.Instruments(), b.Ready.Check)
	if err != nil {
		return err
	}
	b.Instrument, err = otelkafka.New(b.Telemetry, otelkafka.Options{
		ConsumerGroup: b.Definition.Group, Produces: b.Definition.Produces, Consumes: b.Definition.Consumes,
	})
	return err
}

// listen binds early, so that a port in use is told before anything starts.
func (s *Service) listen(ctx context.Context, settings Settings) (err error) {
	s.listeners, err = httpapi.ListenAll(ctx, settings.Address)
	if err != nil {
		return err
	}
	s.listeners = s.listeners.Limit(settings.HTTP.MaxConnections)
	s.base.Stack.OnStop("listener", func(context.Context) error {
		_ = s.listeners.Close() // the server has usually closed it
		return nil
	})
	return nil
}

func (s *Service) store(ctx context.Context, settings Settings) (err error) {
	b := s.base
	own := b.Definition.Migrations
	if own != nil {
		if own, err = fs.Sub(own, "migrations"); err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
	}
	b.Store, err = storage.Open(ctx, settings.DatabaseURL, b.Definition.Name, own, storage.MaxConnections(settings.DatabaseConnections))
	if err != nil {
		return err
	}
	b.Stack.OnStop("storage", func(context.Context) error { return b.Store.Close() })
	b.Ready.Add("storage", b.Store.Ping)
	if !b.Store.Shared() {
		return nil
	}
	pool, err := watchPool(b.Telemetry.Instruments(), b.Store)
	if err != nil {
		return err
	}
	b.Stack.OnStop("pool", func(context.Context) error { return pool.Unregister() })
	return nil
}

// connect waits for Kafka, makes the topics, and checks that the storage
// belongs to them.
func (s *Service) connect(ctx context.Context, settings Settings) (err error) {
	b := s.base
	b.Kafka = kafka.Config{Brokers: settings.Brokers, ClientID: b.Definition.Name, SessionTimeout: settings.KafkaSession, Security: settings.KafkaSecurity}
	if b.Kafka.Security.Readable() {
		b.Log.WarnContext(ctx, "the password for Kafka crosses the network readable: SASL PLAIN without TLS")
	}
	b.Control, err = kafka.Connect(ctx, b.Kafka, settings.KafkaPatience)
	if err != nil {
		return err
	}
	b.Stack.OnStop("kafka", func(context.Context) error { return b.Control.Close() })
	if _, err := kafka.EnsureTopics(b.Control, banking.Topics()); err != nil {
		return err
	}
	identities, err := kafka.Identities(b.Control, slices.Concat(b.Definition.Consumes, b.Definition.Produces))
	if err != nil {
		return err
	}
	if err := b.Store.Stamp(ctx, identities); err != nil {
		return err
	}
	health := kafka.NewHealth(b.Control, healthInterval)
	b.Stack.Go("kafka health", health.Run)
	b.Ready.Add("kafka", health.Check)
	return nil
}

func (s *Service) route(ctx context.Context, settings Settings) error {
	b := s.base
	panics, err := b.Telemetry.Instruments().Int64Counter(httpapi.PanicsTotal)
	if err != nil {
		return err
	}
	panics.Add(ctx, 0) // seen as zero before the first
	document, err := httpapi.OpenAPI(b.Definition.Name, b.Definition.OpenAPI)
	if err != nil {
		return err
	}
	b.Router = httpapi.NewRouter(httpapi.Config{
		Service: b.Definition.Name, Version: settings.Version, Metrics: b.Telemetry.MetricsHandler(),
		Ready: b.Ready, Log: b.Log, OpenAPI: document, Tokens: s.edge.tokens,
		Panicked:      func(ctx context.Context) { panics.Add(ctx, 1) },
		MaxConcurrent: settings.HTTP.MaxConcurrent, MaxBody: banking.MaxBody, BodyTimeout: settings.HTTP.BodyTimeout,
	})
	return nil
}

func (s *Service) wire(ctx context.Context, _ Settings) error {
	return s.base.Definition.Wire(ctx, s.base)
}

func (s *Service) serve(_ context.Context, settings Settings) error {
	b := s.base
	handler := httpapi.Identify(telemetry.HTTPMiddleware(b.Telemetry, httpapi.Route)(b.Router))
	timeouts := settings.HTTP.Timeouts
	timeouts.Certificate = s.edge.certificate
	server := httpapi.NewServer(handler, b.Log, timeouts)
	b.Stack.Go("http server", func(ctx context.Context) error { return server.Serve(ctx, s.listeners...) })
	b.Stack.OnStop("http requests", server.Shutdown)
	b.Stack.Go("readiness", s.ready.run) // the last part: it ends before requests are turned away
	return nil
}
