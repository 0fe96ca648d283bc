// Package doctor looks at a running system the way a person on call would:
// part by part, from the services to the dashboards, and says for each what is
// wrong and how to fix it. It only reads.
//
// doctor.go runs the checks and has those of the services; monitoring.go checks
// what watches them, and dashboards.go whether the panels' queries find data.
package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
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
	Services []Service
	// Topics compares the settings of Kafka's topics with what the system needs.
	// Nil skips that.
	Topics       func(context.Context) ([]Concern, error)
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
	// Transport is how the services are reached; nil is plain HTTP, or HTTPS that
	// the system's authorities vouch for.
	Transport http.RoundTripper
	// Timeout bounds each question.
	Timeout time.Duration
}

// Concern is a topic's setting that endangers what the system promises.
type Concern struct{ Topic, Text, Fix string }

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

// Run looks at every part in turn, calls report with each finding as it is made,
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
		services.checkService(ctx, s)
	}
	d.checkTopics(ctx)
	d.checkMonitoring(ctx)
	return well && ctx.Err() == nil
}

func (d *doctor) ok(part, detail string) { d.report(Finding{Part: part, OK: true, Detail: detail}) }

func (d *doctor) wrong(part, detail, remedy string) {
	d.report(Finding{Part: part, Detail: detail, Remedy: remedy})
}

// checkService checks that a service lives, is ready, and shows its metrics.
func (d *doctor) checkService(ctx context.Context, s Service) {
	status, body, err := d.get(ctx, s.URL+"/health/ready")
	switch {
	case err != nil:
		d.wrong(s.Name, fmt.Sprintf("does not answer at %s: %s", s.URL, reason(err)),
			"Start it with `make run`, `make start-all` or `make start`; if it listens elsewhere, say so with --"+s.Name+"-addr.")
		return
	case status != http.StatusOK:
		d.wrong(s.Name, fmt.Sprintf("is not ready: %s", problem(status, body)),
			"The reason names the part that it waits for; its log says more.")
		return
	}
	status, body, err = d.get(ctx, s.URL+"/metrics")
	if err != nil {
		d.wrong(s.Name, "is ready, but its metrics page fails: "+reason(err), "Look into its log; a slow page points to an overloaded host.")
		return
	}
	own := fmt.Sprintf("process_uptime_seconds{service=%q}", s.Name)
	if status != http.StatusOK || !hasMetric(body, own) {
		d.wrong(s.Name, fmt.Sprintf("is ready, but %s/metrics (status %d) has no %s", s.URL, status, own),
			"Something else answers at this address: compare with `curl "+s.URL+"/`, which names the service.")
		return
	}
	d.ok(s.Name, "is ready and shows its metrics at "+s.URL+"/metrics")
}

// checkTopics reports what endangers the promise, or that nothing does.
func (d *doctor) checkTopics(ctx context.Context) {
	const part = "Kafka's topics"
	if d.cfg.Topics == nil {
		return
	}
	concerns, err := d.cfg.Topics(ctx)
	if err != nil {
		d.wrong(part, "cannot be looked at: "+err.Error(), "Say where Kafka is, and how to authenticate, with --kafka-brokers and its like.")
		return
	}
	for _, c := range concerns {
		d.wrong(part, c.Topic+": "+c.Text, "Run `"+c.Fix+"`.")
	}
	if len(concerns) == 0 {
		d.ok(part, "keep records for as long, and take them as large, as they should")
	}
}

// problem is what a problem document says, or the status where it is none.
func problem(status int, body string) string {
	var document struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(body), &document) == nil && document.Detail != "" {
		return document.Detail
	}
	return fmt.Sprintf("status %d", status)
}

// maxResponse bounds what is read of any answer.
const maxResponse = 16 << 20

// get requests a URL and returns the response's status and body.
func (d *doctor) get(ctx context.Context, address string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	if d.cfg.GrafanaUser != "" && d.cfg.Grafana != "" && strings.HasPrefix(address, d.cfg.Grafana) {
		request.SetBasicAuth(d.cfg.GrafanaUser, d.cfg.GrafanaPass)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return 0, "", fmt.Errorf("read the answer: %w", err)
	}
	return response.StatusCode, string(content), nil
}

// reason is an error in as few words as possible: without the URL, which is
// said before it.
func reason(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return err.Error()
}

// hasMetric says whether an exposition page has a sample of a metric whose
// name starts so.
func hasMetric(page, prefix string) bool {
	return strings.HasPrefix(page, prefix) || strings.Contains(page, "\n"+prefix)
}
