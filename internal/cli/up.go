package cli

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	embedded "github.com/vigie-dev/vigie/internal/embedded/broker"
	"github.com/vigie-dev/vigie/internal/embedded/prometheus"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/heap"
	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

const (
	readyTimeout = 60 * time.Second
	readyPoll    = 20 * time.Millisecond
)

func upCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "start the whole system in this process",
		Description: "Starts the embedded broker (unless --" + flagBrokers + " names another), creates the topics,\n" +
			"starts " + listed(registry.Names()) + "\nand a Prometheus that watches them (unless --" + flagPrometheus + " names another), and says where to look.\n\n" + telemetryHelp,
		HideHelpCommand: true,
		Flags: slices.Concat(kafkaFlags("the embedded broker"), []cli.Flag{sessionFlag(), brokerAddrFlag()}, storageFlags(),
			addrFlags(registry), []cli.Flag{
				demoFlag("send invented orders all the time, and have payments fail now and then (--" + errorRateFlag + " " + demoErrorRate + " unless set)"),
				langFlag(),
				demoSeedFlag(),
			}, []cli.Flag{portBaseFlag(), pprofFlag(), stopFlag(), samplingFlag(), faultsFlag()}, prometheusFlags(),
			httpFlags(registry...), logFlags(), ownFlags(registry...)),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := checkFaults(c); err != nil {
				return err
			}
			return up(ctx, c, registry)
		},
	}
}

func portBaseFlag() cli.Flag {
	return &cli.IntFlag{
		Name: flagPortBase, Sources: cli.EnvVars("VIGIE_PORT_BASE"), HideDefault: true, Category: "Process",
		Usage: "`N` moves every port that is not set: the services listen on N+1 to N+5, Prometheus on N+90, the embedded broker on N+92",
		Validator: func(n int) error {
			if n < 1 || n > 1<<16-portsApart {
				return fmt.Errorf("want a number from 1 to %d, such as 4000", 1<<16-portsApart)
			}
			return nil
		},
	}
}

func up(ctx context.Context, c *cli.Command, registry services.Registry) error {
	stopRelaxing := heap.Relax()
	defer stopRelaxing()
	p := &parts{c: c, registry: registry, services: map[string]*service.Service{}, probe: secret.Of(rand.Text()), around: service.Surroundings{
		Traces: traces.NewRecent(traces.Limits{}), Within: true,
	}}
	ctx, p.cancel = context.WithCancel(ctx)
	err := p.start(ctx)
	if err == nil && ctx.Err() == nil {
		p.welcome(c.Root().Writer)
		err = watch(ctx, p.watched()...)
		fmt.Fprintln(c.Root().Writer, "stopping; a second signal exits at once")
	}
	stopping, cancel := stopContext(ctx, c)
	defer cancel()
	return errors.Join(unlessStopped(ctx, err), p.stop(stopping))
}

// parts are what `vigie up` runs in this process.
type parts struct {
	c        *cli.Command
	registry services.Registry
	cancel   context.CancelFunc // of the run
	undo     []func(context.Context) error

	profiles   *profileServer
	gate       *faults.Gate         // before the embedded broker; nil: nobody may break things
	authoriser *paiement.Adjustable // likewise
	broker     *embedded.Broker     // nil: it is elsewhere
	brokers    []string
	services   map[string]*service.Service // by name
	prometheus *prometheus.Server          // nil: none of our own
	around     service.Surroundings        // of those that look on
	probe      secret.Value                // by which they place probes
}

// start starts the parts in the order in which they need each other. An error,
// or a run that ends meanwhile, leaves those running that have come so far.
func (p *parts) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		p.prepareDemo,   // where one is asked for
		p.prepareFaults, // where only this machine reaches the page, or who has a token
		p.startProfiles,
		p.startBroker, // unless there is one elsewhere, with the topics as they have to be
		p.startBank,   // the services that orders pass through, ready
		p.startPrometheus,
		p.offerFaults,
		p.startOutside, // those that look on
		p.scrape,
		p.startDemo,
		p.announce, // the last: what is told is there
	} {
		if err := step(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// announce leaves word in the data folder of where the parts are. Where that
// fails, all runs well, and tools have to be told.
func (p *parts) announce(ctx context.Context) error {
	i := instance.Instance{
		Version: programVersion(), PID: os.Getpid(), Started: time.Now().UTC(),
		Kafka: p.brokers, OwnBroker: len(brokers(p.c)) == 0, Prometheus: reachable(p.around.PrometheusURL),
		OwnPrometheus: p.prometheus != nil, Demo: p.around.Demo,
	}
	if path := p.c.String(flagHTTPCert); path != "" {
		i.Certificate, _ = filepath.Abs(path) // "" where there is no folder to begin with
	}
	for _, s := range p.all() {
		i.Services = append(i.Services, instance.Service{Name: s.Name(), URL: reachable(s.URL())})
	}
	for _, s := range p.registry.Outside() {
		i.Page = i.URL(s.Name)
	}
	running, err := instance.Announce(ctx, p.c.String(flagData), i)
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintf(p.c.Root().Writer, "Tools will not find this instance by --%s: %s\n", flagData, printable(plain(err)))
		}
		return nil
	}
	p.undo = append(p.undo, func(context.Context) error { return running.Close() })
	return nil
}

// stop stops the parts in the opposite order, every one even if another failed.
func (p *parts) stop(ctx context.Context) error {
	p.cancel()
	var errs []error
	for _, undo := range slices.Backward(p.undo) {
		errs = append(errs, undo(ctx))
	}
	return errors.Join(errs...)
}

// prepareDemo has payments fail now and then, where nothing else is set.
func (p *parts) prepareDemo(context.Context) error {
	p.around.Demo, p.around.Language = p.c.Bool(flagDemo), language(p.c)
	if !p.around.Demo || p.c.IsSet(errorRateFlag) {
		return nil
	}
	return p.c.Set(errorRateFlag, demoErrorRate)
}

func (p *parts) startProfiles(ctx context.Context) (err error) {
	p.profiles, err = startProfiles(ctx, p.c)
	p.undo = append(p.undo, func(ctx context.Context) error { return p.profiles.stop(ctx, p.c) })
	return err
}

// startBroker starts the embedded broker where no other is named. A broker that
// fails ends the run, and says why when it is closed.
func (p *parts) startBroker(ctx context.Context) error {
	p.brokers = brokers(p.c)
	if len(p.brokers) > 0 {
		return nil
	}
	broker, err := startBroker(ctx, p.c, p.gate)
	if err != nil {
		return err
	}
	p.broker = broker
	p.undo = append(p.undo, func(context.Context) error { return broker.Close() })
	go func() {
		select {
		case <-broker.Failed(): //nolint:errcheck // Close says why
			p.cancel()
		case <-ctx.Done():
		}
	}()
	p.brokers = []string{broker.Address()}
	if err := alignOwn(ctx, p.c, p.brokers); ctx.Err() == nil {
		return err
	}
	return nil // the broker's failure is the reason
}

// startBank starts the services that orders pass through. What reads no topic
// stops first: no new orders while the others finish theirs.
func (p *parts) startBank(ctx context.Context) error {
	inside := p.registry.Inside()
	consumers := inside.Consumers().Names()
	sources := slices.DeleteFunc(inside.Names(), func(name string) bool { return slices.Contains(consumers, name) })
	p.undo = append(p.undo, p.stopServices(consumers), p.stopServices(sources))
	return p.startServices(ctx, inside)
}

// startOutside starts the services that look at the whole, which they are told.
func (p *parts) startOutside(ctx context.Context) error {
	for _, s := range p.registry.Inside() {
		p.around.Peers = append(p.around.Peers, s.Peer(p.services[s.Name].URL()))
	}
	p.around.TLS = ownTLS(p.c)
	outside := p.registry.Outside()
	p.undo = append(p.undo, p.stopServices(outside.Names()))
	return p.startServices(ctx, outside)
}

// ownTLS is how requests to services of this process are secured: they show our
// own certificate, whatever name it is for and whoever signed it; nil where there
// is none.
func ownTLS(c *cli.Command) func() (*tls.Config, error) {
	certificate, key := c.String(flagHTTPCert), c.String(flagHTTPKey)
	if certificate == "" {
		return nil
	}
	return func() (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("read our own certificate: %w", err)
		}
		own := x509.NewCertPool()
		own.AddCert(pair.Leaf)
		name := pair.Leaf.Subject.CommonName
		if len(pair.Leaf.DNSNames) > 0 {
			name = pair.Leaf.DNSNames[0]
		} else if len(pair.Leaf.IPAddresses) > 0 {
			name = pair.Leaf.IPAddresses[0].String()
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: own, ServerName: name}, nil
	}
}

// startServices starts services side by side and waits until each is ready.
func (p *parts) startServices(ctx context.Context, registry services.Registry) error {
	started := make([]*service.Service, len(registry))
	var group errgroup.Group
	for i, s := range registry {
		group.Go(func() (err error) {
			started[i], err = startService(ctx, p.c, s, p.brokers, p.around, p.authoriser, p.probe)
			return err
		})
	}
	err := group.Wait()
	for i, s := range registry {
		if started[i] != nil {
			p.services[s.Name] = started[i]
		}
	}
	if err != nil {
		return err
	}
	bar := newBar(p.c.Root().ErrWriter, "rebuilding the ledger")
	defer bar.finish()
	return waitReady(ctx, started, bar.draw)
}

func (p *parts) stopServices(names []string) func(context.Context) error {
	return func(ctx context.Context) error {
		var running []*service.Service
		for _, name := range names {
			if s := p.services[name]; s != nil {
				running = append(running, s)
			}
		}
		return stopAll(ctx, running...)
	}
}

// watched are the parts whose failure ends the run; the broker has its own way.
func (p *parts) watched() []failing {
	var all []failing
	for _, s := range p.all() {
		all = append(all, s)
	}
	if p.prometheus != nil {
		all = append(all, p.prometheus)
	}
	return all
}

// all returns the services in the registry's order.
func (p *parts) all() []*service.Service {
	all := make([]*service.Service, len(p.registry))
	for i, s := range p.registry {
		all[i] = p.services[s.Name]
	}
	return all
}

// alignOwn gives the embedded broker's topics the settings that they need: the
// folder may be of an earlier version.
func alignOwn(ctx context.Context, c *cli.Command, addresses []string) error {
	cfg, err := kafkaConfig(c, "vigie-up", addresses...)
	if err != nil {
		return err
	}
	return prepareTopics(ctx, cfg, func(_ *kafka.Client, _ []string, changed []kafka.Concern) error {
		for _, change := range changed {
			fmt.Fprintf(c.Root().Writer, "set %s of %s\n", strings.Join(change.Changes(), ", "), change.Topic)
		}
		return nil
	})
}

// waitReady returns when every service can do its work. Meanwhile it draws how far a
// rebuild is.
func waitReady(parent context.Context, running []*service.Service, draw func(done, total int64)) error {
	ctx, cancel := context.WithTimeout(parent, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for _, s := range running {
		for err := s.Ready(ctx); err != nil; err = s.Ready(ctx) {
			if rebuilding, ok := errors.AsType[*paiement.RebuildingError](err); ok {
				draw(rebuilding.Done, rebuilding.Total)
			}
			select {
			case failure := <-s.Failed():
				return fmt.Errorf("%s: %w", s.Name(), failure)
			case <-parent.Done():
				return parent.Err()
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", s.Name(), err)
			case <-ticker.C:
			}
		}
	}
	return nil
}

// welcome says where to look and what to try.
func (p *parts) welcome(w io.Writer) {
	fmt.Fprintf(w, "\nVigie is up. Kafka: %v\n\n", p.brokers)
	for _, s := range p.registry.Outside() {
		fmt.Fprintf(w, "  Open %s in a browser and watch.\n\n", p.services[s.Name].URL())
	}
	for _, s := range p.all() {
		fmt.Fprintf(w, "  %-10s %s  (metrics: %[2]s/metrics)\n", s.Name(), s.URL())
	}
	if p.around.Demo {
		fmt.Fprint(w, "\nThis is a demonstration: invented orders arrive all the time, and some of their payments fail.\n")
	}
	if notes := whatClientsNeed(p.c, p.registry) + p.wherePrometheusIs() + whereTelemetryGoes() + p.profiles.where(); notes != "" {
		fmt.Fprintf(w, "\n%s", notes)
	}
	fmt.Fprint(w, "\nPlace an order, then follow it:\n\n")
	for _, s := range p.registry {
		if s.Example != "" {
			fmt.Fprintf(w, "  %s\n", example(s, p.services[s.Name].URL()))
		}
	}
	fmt.Fprint(w, "\nCtrl-C stops everything.\n\n")
}

// whatClientsNeed is a line about what the examples leave out, "" where that is
// nothing.
func whatClientsNeed(c *cli.Command, registry services.Registry) string {
	var needs []string
	if c.String(flagHTTPCert) != "" {
		needs = append(needs, "--cacert FILE")
	}
	if slices.ContainsFunc(registry, func(s services.Service) bool { return s.Guards != "" && c.String(s.Name+flagTokens) != "" }) {
		needs = append(needs, "-H 'Authorization: Bearer TOKEN'")
	}
	if len(needs) == 0 {
		return ""
	}
	return "Clients need " + strings.Join(needs, " and ") + ", as docs/http.md says.\n"
}

const (
	flagPrometheusAddr    = prometheus.Name + flagAddr
	defaultPrometheusAddr = "127.0.0.1:9090"
	defaultPrometheus     = "http://" + defaultPrometheusAddr
)

// prometheusFlags say which Prometheus looks at the whole system.
func prometheusFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagPrometheusAddr, Sources: env(flagPrometheusAddr), Value: defaultPrometheusAddr, Category: "Monitoring",
			Usage: "`HOST:PORT` where the embedded Prometheus answers; \"\" for none",
		},
		urlFlag(flagPrometheus, "", "another Prometheus that the page asks; the embedded one is then not started"),
		urlFlag(flagAlertmanager, "", "an Alertmanager that the embedded Prometheus sends alerts to (default: they are logged only)"),
	}
}

// startPrometheus starts the embedded Prometheus, unless another is named or none
// is wanted. What it is to scrape is not all there yet.
func (p *parts) startPrometheus(ctx context.Context) error {
	p.around.PrometheusURL = baseURL(p.c, flagPrometheus)
	address := listenAddress(p.c, flagPrometheusAddr)
	if p.around.PrometheusURL != "" || address == "" {
		return nil
	}
	log, err := partLog(ctx, p.c, prometheus.Name)
	if err != nil {
		return err
	}
	cfg := prometheus.Config{
		Address: address, Dir: filepath.Join(p.c.String(flagData), prometheus.Name), Files: monitoring.Files,
		Metrics: metricsOf(p.registry), CertFile: p.c.String(flagHTTPCert), Log: log,
	}
	if alertmanager := baseURL(p.c, flagAlertmanager); alertmanager != "" {
		cfg.Alertmanagers = []string{alertmanager}
	}
	p.prometheus, err = prometheus.Start(ctx, cfg)
	if err != nil {
		return err
	}
	p.undo = append(p.undo, p.prometheus.Stop)
	p.around.PrometheusURL, p.around.LeftOut = p.prometheus.URL(), p.prometheus.LeftOut()
	return nil
}

// scrape has the embedded Prometheus watch every service, and lead people to the
// page.
func (p *parts) scrape(context.Context) error {
	if p.prometheus == nil {
		return nil
	}
	var targets []prometheus.Target
	for _, s := range p.all() {
		targets = append(targets, prometheus.Target{Service: s.Name(), URL: s.URL()})
	}
	for _, s := range p.registry.Outside() {
		p.prometheus.ShowPage(p.services[s.Name].URL())
	}
	return p.prometheus.Scrape(targets)
}

// metricsOf are the metrics that services have.
func metricsOf(registry services.Registry) []string {
	names := service.Catalogue().Names()
	for _, section := range catalogue.Sections() {
		names = append(names, section.Catalogue.Names()...)
	}
	for _, s := range registry {
		names = append(names, s.Catalogue.Names()...)
	}
	return names
}

// wherePrometheusIs is a line about the embedded Prometheus, "" where there is
// none.
func (p *parts) wherePrometheusIs() string {
	if p.prometheus == nil {
		return ""
	}
	return fmt.Sprintf("Prometheus' API is at %s, for Grafana, promtool and curl; alerts are logged here.\n", p.prometheus.URL())
}
