package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/demo"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/suivi"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

const (
	flagDemo      = "demo"
	variableDemo  = "VIGIE_DEMO"
	flagDemoSeed  = "demo-seed"
	categoryDemo  = "Demonstration"
	demoName      = "demo"
	errorRateFlag = "paiement-error-rate"
	// demoErrorRate has an order fail three times in a row once in a thousand
	// orders, which is a dead letter every quarter of an hour or so.
	demoErrorRate = "0.1"
)

// demoFlag says that the traffic is a demonstration's; does is what follows from it.
func demoFlag(does string) cli.Flag {
	return &cli.BoolFlag{Name: flagDemo, Sources: cli.EnvVars(variableDemo), Category: categoryDemo, Usage: does}
}

func demoSeedFlag() cli.Flag {
	return &cli.Uint64Flag{
		Name: flagDemoSeed, Sources: cli.EnvVars("VIGIE_DEMO_SEED"), Value: 1, Category: categoryDemo,
		Usage: "what the demonstration sends, and when, follows from this number",
	}
}

// demoCommand sends a demonstration's traffic to services that run elsewhere.
func demoCommand(registry services.Registry) *cli.Command {
	asked := slices.DeleteFunc(registry.Inside(), func(s services.Service) bool { return s.Guards == "" })
	flags := slices.Concat(kafkaFlags(defaultBroker), addrFlags(asked), httpClientFlags(), logFlags(), []cli.Flag{demoSeedFlag(), stopFlag()})
	for _, s := range asked {
		flags = append(flags, &cli.StringFlag{
			Name: s.Name + flagTokens, Sources: env(s.Name + flagTokens), Category: "HTTP",
			Usage: "`FILE` with tokens for " + s.Guards + ", of which the first is sent (default: none is sent)",
		})
	}
	return &cli.Command{
		Name: demoName, Usage: "send invented orders to running services, as a demonstration", HideHelpCommand: true, Flags: flags,
		Description: "Sends what `vigie up --" + flagDemo + "` sends: up to a few invented orders a second, requests that are refused,\n" +
			"and replays of its own orders' dead letters. A demonstration's day takes 24 minutes. To have its orders\n" +
			"fail now and then, start paiement with --" + errorRateFlag + " " + demoErrorRate + ", and to have the page say that this is\n" +
			"a demonstration, sentinelle with --" + flagDemo + ".\n\n" + telemetryHelp,
		Action: func(ctx context.Context, c *cli.Command) error { return runDemo(ctx, c, asked) },
	}
}

func runDemo(ctx context.Context, c *cli.Command, asked services.Registry) error {
	transport, err := clientTransport(c)
	if err != nil {
		return err
	}
	transport.DisableKeepAlives = false
	urls := map[string]string{}
	for _, s := range asked {
		urls[s.Name] = serviceURL(c, s)
	}
	var stack lifecycle.Stack
	err = startDemo(ctx, c, &stack, transport, urls, defaultBroker)
	if err == nil {
		fmt.Fprintf(c.Root().Writer, "a demonstration orders at %s (Ctrl-C stops it)\n", urls[commande.Name])
		select {
		case err = <-stack.Failed():
		case <-ctx.Done():
		}
	}
	stopping, cancel := stopContext(ctx, c)
	defer cancel()
	return errors.Join(err, stack.Stop(stopping))
}

// startDemo starts a demonstration that sends requests to services by their
// names. The stack stops it.
func startDemo(
	ctx context.Context, c *cli.Command, stack *lifecycle.Stack, transport *http.Transport, urls map[string]string, brokers ...string,
) error {
	cluster, err := kafkaConfig(c, "vigie-demo", brokers...)
	if err != nil {
		return err
	}
	targets := map[string]demo.Target{}
	for name, url := range urls {
		token, err := firstToken(c, name)
		if err != nil {
			return err
		}
		targets[name] = demo.Target{URL: url, Token: token}
	}
	t, err := ownTelemetry(ctx, telemetry.Config{
		Service: demoName, LogWriter: c.Root().ErrWriter, LogFormat: logFormat(c), LogLevel: logLevel(c),
	})
	if err != nil {
		return err
	}
	stack.OnStop("telemetry", t.Shutdown)
	instrument, err := otelkafka.New(otelkafka.WithTelemetry(t))
	if err != nil {
		return err
	}
	stack.OnStop("connections", func(context.Context) error { transport.CloseIdleConnections(); return nil })
	letters := &demo.Letters{Kafka: cluster, Instrument: instrument}
	stack.Go("demonstration", func(ctx context.Context) error {
		return demo.Run(ctx, demo.Config{
			Commande: targets[commande.Name], Suivi: targets[suivi.Name], Analyseur: targets[analyseur.Name],
			Transport: transport, Replay: letters.Replay, Seed: c.Uint64(flagDemoSeed), Log: t.Logger(),
		})
	})
	return nil
}

// firstToken is the first of the tokens that a service accepts, "" where it wants
// none.
func firstToken(c *cli.Command, name string) (string, error) {
	path := c.String(name + flagTokens)
	if path == "" {
		return "", nil
	}
	token, err := httpapi.FirstToken(path)
	if err != nil {
		return "", fmt.Errorf("--%s%s (%s): %w", name, flagTokens, variable(name+flagTokens), err)
	}
	return token, nil
}

// startDemo sends a demonstration's traffic to the services of this process.
func (p *parts) startDemo(ctx context.Context) error {
	if !p.around.Demo {
		return nil
	}
	transport, err := ownTransport(p.c)
	if err != nil {
		return err
	}
	urls := map[string]string{}
	for _, s := range p.registry.Inside() {
		urls[s.Name] = p.services[s.Name].URL()
	}
	var stack lifecycle.Stack
	p.undo = append(p.undo, stack.Stop)
	return startDemo(ctx, p.c, &stack, transport, urls, p.brokers...)
}

// ownTransport is how requests from this process reach its own services. Where they
// speak TLS, the certificate that they show is the one that we have given them.
func ownTransport(c *cli.Command) (*http.Transport, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 2}
	path := c.String(flagHTTPCert)
	if path == "" {
		return transport, nil
	}
	pair, err := tls.LoadX509KeyPair(path, c.String(flagHTTPKey))
	if err != nil {
		return nil, fmt.Errorf("--%s (%s): %w", flagHTTPCert, variable(flagHTTPCert), err)
	}
	trusted, name := x509.NewCertPool(), ""
	trusted.AddCert(pair.Leaf)
	switch {
	case len(pair.Leaf.DNSNames) > 0:
		name = pair.Leaf.DNSNames[0]
	case len(pair.Leaf.IPAddresses) > 0:
		name = pair.Leaf.IPAddresses[0].String()
	}
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted, ServerName: name}
	return transport, nil
}
