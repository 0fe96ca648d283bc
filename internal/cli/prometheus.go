package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/embedded/prometheus"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/telemetry"
)

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
	names := slices.Concat(service.Common().Names(), service.ConsumerCatalogue().Names(), service.PostgresCatalogue().Names())
	for _, section := range telemetry.Sections() {
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
