// Package doctor looks at a running system the way a person on call would:
// part by part, from the services to the dashboards, and says for each what is
// wrong and how to mend it. It only reads.
package doctor

import (
	"context"
	"net/http"
	"time"
)

// Finding is what one check says.
type Finding struct {
	// Part is what was looked at, such as "commande" or "Prometheus".
	Part string `json:"part"`
	// OK says whether all is well.
	OK bool `json:"ok"`
	// Detail says what was seen, in one sentence.
	Detail string `json:"detail"`
	// Remedy says what to do about it; "" where all is well.
	Remedy string `json:"remedy,omitempty"`
}

// Config says where the parts are. A part without an address is not looked at.
type Config struct {
	Services     []Service
	Prometheus   string // base URLs
	Alertmanager string
	Grafana      string
	GrafanaUser  string
	GrafanaPass  string
	JMX          string // pages
	Node         string
	// Dashboards is a folder of dashboards as JSON, whose queries are tried on
	// Prometheus. "" skips that.
	Dashboards string
	// Transport is how the services are asked; nil is plain HTTP, or HTTPS that
	// the system's authorities vouch for.
	Transport http.RoundTripper
	// Timeout bounds each question.
	Timeout time.Duration
}

// Service is one service to look at.
type Service struct {
	Name string
	URL  string
}

// doctor is one look at the system.
type doctor struct {
	cfg    Config
	client *http.Client
	report func(Finding)
}

// Run looks at every part in turn, tells report each finding as it is made,
// and returns whether all is well. It ends early only with ctx.
func Run(ctx context.Context, cfg Config, report func(Finding)) bool {
	well := true
	transport := &http.Transport{DisableKeepAlives: true}
	d := &doctor{
		cfg: cfg, client: &http.Client{Transport: transport, Timeout: cfg.Timeout},
		report: func(f Finding) { well = well && f.OK; report(f) },
	}
	services := *d // the same look, over their own transport
	if cfg.Transport != nil {
		services.client = &http.Client{Transport: cfg.Transport, Timeout: cfg.Timeout}
	}
	for _, s := range cfg.Services {
		services.service(ctx, s)
	}
	d.exporter(ctx, kafkaExporter(cfg.JMX))
	d.exporter(ctx, nodeExporter(cfg.Node))
	d.prometheus(ctx)
	d.alertmanager(ctx)
	d.grafana(ctx)
	return well && ctx.Err() == nil
}

func (d *doctor) ok(part, detail string) { d.report(Finding{Part: part, OK: true, Detail: detail}) }

func (d *doctor) wrong(part, detail, remedy string) {
	d.report(Finding{Part: part, Detail: detail, Remedy: remedy})
}
