package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/heap"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/profiling"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otlp"
)

// telemetryHelp names the settings that have no flag, since they are every
// OpenTelemetry program's.
const telemetryHelp = "OTEL_TRACES_EXPORTER=otlp and OTEL_LOGS_EXPORTER=otlp send traces and logs to the collector at\n" +
	"OTEL_EXPORTER_OTLP_ENDPOINT (default http://localhost:4318); unset, nothing leaves the process. The other\n" +
	"standard OTEL_* variables apply: OTEL_EXPORTER_OTLP_PROTOCOL, _HEADERS, OTEL_TRACES_SAMPLER, …"

// serviceCommand runs one service alone.
func serviceCommand(s services.Service, registry services.Registry) *cli.Command {
	flags := slices.Concat([]cli.Flag{addrFlag(s.Name, s.Address), pprofFlag(), stopFlag(), samplingFlag()}, httpFlags(s), logFlags(), ownFlags(s))
	if s.Outside {
		flags = append(flags, aroundFlags(s, registry)...)
	}
	flags = slices.Concat(kafkaFlags(defaultBroker), storageFlags(), flags)
	if s.Group != "" {
		flags = append(flags, sessionFlag())
	}
	return &cli.Command{
		Name: s.Name, Usage: s.Does, Description: telemetryHelp, Flags: flags, HideHelpCommand: true,
		Action: func(ctx context.Context, c *cli.Command) (err error) {
			addresses := brokers(c)
			if len(addresses) == 0 {
				addresses = []string{defaultBroker}
			}
			stopRelaxing := heap.Relax()
			defer stopRelaxing()
			profiles, err := startProfiles(ctx, c)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, profiles.stop(ctx, c)) }()
			around, err := surroundings(c, s, registry)
			if err != nil {
				return err
			}
			running, err := startService(ctx, c, s, addresses, around, nil, secret.Value{})
			if err != nil {
				return unlessStopped(ctx, err)
			}
			fmt.Fprintf(c.Root().Writer, "%s answers at %s (Ctrl-C stops it)\n%s%s", s.Name, running.URL(), whereTelemetryGoes(), profiles.where())
			failure := watch(ctx, running)
			stopping, cancel := stopContext(ctx, c)
			defer cancel()
			return errors.Join(failure, stopAll(stopping, running))
		},
	}
}

// ownFlags are those of the services' own settings.
func ownFlags(registry ...services.Service) []cli.Flag {
	var flags []cli.Flag
	for _, s := range registry {
		if s.Flags != nil {
			flags = append(flags, s.Flags()...)
		}
	}
	return flags
}

// startService starts a service as a command's flags say, paiement with an
// authoriser that faults change where there is one. The services of one process share the
// probe's credential.
func startService(
	ctx context.Context, c *cli.Command, s services.Service, brokers []string, around service.Surroundings, authoriser *paiement.Adjustable,
	probe secret.Value,
) (*service.Service, error) {
	settings, err := settings(c, s, brokers)
	if err != nil {
		return nil, err
	}
	// Of those that look on no trace is kept: their requests would bury the orders'.
	if keeper, ok := around.Traces.(telemetry.Keeper); ok && !s.Outside {
		settings.Keeper = keeper
	}
	run := services.Run{Settings: settings, Flags: c, Around: around, Authoriser: authoriser, Probe: probe}
	if s.Outside {
		if run.OpenAudit, err = auditOpener(c, brokers, around.Within); err != nil {
			return nil, err
		}
	}
	return s.Start(ctx, run)
}

const flagPeers = "-peers" // behind a service's name

// aroundFlags are those by which a service outside the bank, started alone,
// finds what it looks at.
func aroundFlags(s services.Service, registry services.Registry) []cli.Flag {
	var peers []string
	for _, peer := range registry.Inside() {
		peers = append(peers, peer.Name+"=http://"+peer.Address)
	}
	return append([]cli.Flag{
		&cli.StringFlag{
			Name: s.Name + flagPeers, Sources: env(s.Name + flagPeers), Value: strings.Join(peers, ","), Category: "Surroundings",
			Usage: "`NAME=URL,…` of the bank's services to look at; where --" + flagBrokers + " names a cluster, there are none unless they are named",
		},
		urlFlag(flagPrometheus, defaultPrometheus, "the Prometheus to ask"),
		demoFlag("say that the orders are a demonstration's"), langFlag(),
	}, httpClientFlags()...)
}

// surroundings reads [aroundFlags].
func surroundings(c *cli.Command, s services.Service, registry services.Registry) (service.Surroundings, error) {
	around := service.Surroundings{}
	if !s.Outside {
		return around, nil
	}
	around.PrometheusURL, around.TLS, around.Demo = baseURL(c, flagPrometheus), clientTLS(c), c.Bool(flagDemo)
	around.Language = language(c)
	if len(brokers(c)) > 0 && !c.IsSet(s.Name+flagPeers) { // somebody's cluster, which has no bank
		if !c.IsSet(flagPrometheus) {
			around.PrometheusURL = ""
		}
		return around, nil
	}
	for pair := range strings.SplitSeq(c.String(s.Name+flagPeers), ",") {
		name, raw, _ := strings.Cut(strings.TrimSpace(pair), "=")
		u, err := url.Parse(raw)
		if err != nil || name == "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return around, fmt.Errorf("--%s%s (%s): %q is not NAME=URL", s.Name, flagPeers, variable(s.Name+flagPeers), pair)
		}
		address := strings.TrimRight(raw, "/")
		peer := service.Peer{Name: name, URL: address}
		for _, known := range registry {
			if known.Name == name {
				peer = known.Peer(address)
			}
		}
		around.Peers = append(around.Peers, peer)
	}
	return around, nil
}

// clientTLS is how requests to services are secured: by the flags of clients.
func clientTLS(c *cli.Command) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		transport, err := clientTransport(c)
		if err != nil {
			return nil, err
		}
		return transport.TLSClientConfig, nil
	}
}

// unlessStopped is the error of a start, nil where that has ended for no other
// reason than a request to stop.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// settings reads what a service needs from a command's flags.
func settings(c *cli.Command, s services.Service, brokers []string) (service.Settings, error) {
	injector, err := fault.Parse(os.Getenv("VIGIE_FAULT"), fault.Kill) // for tests of crashes, so it has no flag
	if err != nil {
		return service.Settings{}, err
	}
	security, err := kafkaSecurity(c)
	if err != nil {
		return service.Settings{}, err
	}
	database, err := databaseURL(c)
	if err != nil {
		return service.Settings{}, err
	}
	return service.Settings{
		HTTP: httpSettings(c, s), KafkaSecurity: security, Version: programVersion(), Address: listenAddress(c, s.Name+flagAddr), Brokers: brokers,
		DatabaseURL: database, DatabaseConnections: c.Int(flagDatabaseConnections),
		KafkaPatience: c.Duration(flagPatience), KafkaSession: c.Duration(flagSession), Retention: c.Duration(flagRetention),
		LogWriter: c.Root().ErrWriter, LogFormat: logFormat(c), LogLevel: logLevel(c), LogLeftOut: 1 - c.Float(flagSampling),
		Fault: injector,
	}, nil
}

// httpSettings reads [httpFlags] for one service.
func httpSettings(c *cli.Command, s services.Service) service.HTTP {
	h := service.HTTP{
		MaxConcurrent: c.Int(flagConcurrent), MaxConnections: c.Int(flagConnections), CertFile: c.String(flagHTTPCert), KeyFile: c.String(flagHTTPKey),
	}
	if s.Guards != "" {
		h.TokensFile = c.String(s.Name + flagTokens)
	}
	return h
}

// failing is a part that may end by itself.
type failing interface {
	Name() string
	Failed() <-chan error
}

// watch waits for the signal to stop, or for a part to fail.
func watch(ctx context.Context, running ...failing) error {
	failed := make(chan error, len(running))
	for _, s := range running {
		go func() {
			select {
			case err := <-s.Failed():
				failed <- fmt.Errorf("%s: %w", s.Name(), err)
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// stopContext is the context of a graceful stop, whatever ended the run.
func stopContext(ctx context.Context, c *cli.Command) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.Duration(flagStop))
}

// stopAll stops services side by side, within ctx.
func stopAll(ctx context.Context, running ...*service.Service) error {
	errs := make([]error, len(running))
	var group sync.WaitGroup
	for i, s := range running {
		group.Go(func() { errs[i] = s.Stop(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// whereTelemetryGoes is a line about traces and logs that leave the process,
// "" where none do.
func whereTelemetryGoes() string {
	traces, logs := otlp.Destinations()
	switch {
	case traces != "" && logs != "":
		return fmt.Sprintf("Traces go to %s, logs to %s.\n", traces, logs)
	case traces != "":
		return fmt.Sprintf("Traces go to %s.\n", traces)
	case logs != "":
		return fmt.Sprintf("Logs go to %s.\n", logs)
	default:
		return ""
	}
}

// profileServer is the server of the process's profiles, one for all its services,
// or none.
type profileServer struct {
	stack lifecycle.Stack
	url   string
}

// startProfiles serves them where the flag says so.
func startProfiles(ctx context.Context, c *cli.Command) (*profileServer, error) {
	p := &profileServer{}
	address := c.String(flagPprof)
	if address == "" {
		return p, nil
	}
	var err error
	p.url, err = profiling.Start(ctx, &p.stack, address)
	return p, err
}

// where is a line for people.
func (p *profileServer) where() string {
	if p.url == "" {
		return ""
	}
	return fmt.Sprintf("Profiles of this process are at %s.\n", p.url)
}

func (p *profileServer) stop(ctx context.Context, c *cli.Command) error {
	ctx, cancel := stopContext(ctx, c)
	defer cancel()
	return p.stack.Stop(ctx)
}
