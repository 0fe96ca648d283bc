// Package doctor looks at a running system the way a person on call would:
// part by part, from Kafka to the dashboards, and says of what is wrong why and
// how to fix it, once for each cause. It only reads.
//
// doctor.go runs the checks; causes.go makes one finding of what has one cause.
// kafka.go, services.go, monitoring.go and dashboards.go have the checks of these
// parts, and shared.go those of certificates and clocks, which all parts have.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Finding is what the look says of one part, or of one cause.
type Finding struct {
	// Part is what was looked at, such as "commande" or "Prometheus".
	Part string `json:"part"`
	// OK says whether all is well.
	OK bool `json:"ok"`
	// Detail says what was seen, in one sentence.
	Detail string `json:"detail"`
	// Affects are other parts that this keeps from being well, each with what is
	// seen of it there.
	Affects []string `json:"affects,omitempty"`
	// Remedy says what to do about it; "" where all is well.
	Remedy string `json:"remedy,omitempty"`
}

// Config says where the parts are. A part without an address is not looked at.
type Config struct {
	Services []Service
	// Kafka looks at the brokers. Nil skips that.
	Kafka        func(context.Context) (Kafka, error)
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
	// Certificates are files whose certificates must be valid.
	Certificates []CertificateFile
	// Transport is how the services are reached; nil is plain HTTP, or HTTPS that
	// the system's authorities vouch for.
	Transport http.RoundTripper
	// Timeout bounds each question.
	Timeout time.Duration
	// Words says an error in words for people; nil takes the error's own.
	Words func(error) string
	// Now is the clock that the others are compared with; nil is the system's.
	Now func() time.Time
}

// Service is one service to look at.
type Service struct {
	Name string
	URL  string
}

// doctor is one look at the system.
type doctor struct {
	cfg    Config
	seen   *shared
	client *http.Client
}

// Run looks at all parts side by side, calls report with each finding, and
// returns whether all is well. It ends early only with ctx.
func Run(ctx context.Context, cfg Config, report func(Finding)) bool {
	if cfg.Words == nil {
		cfg.Words = error.Error
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &doctor{cfg: cfg, seen: &shared{}}
	d.client = d.clientOver(&http.Transport{DisableKeepAlives: true})
	well := ctx.Err() == nil
	for _, f := range oneForEachCause(d.look(ctx)) {
		well = well && f.OK
		report(f)
	}
	return well && ctx.Err() == nil
}

// look has every part looked at, and returns what was seen in a fixed order.
func (d *doctor) look(ctx context.Context) []symptom {
	services := *d // the same look, over their own transport
	if d.cfg.Transport != nil {
		services.client = d.clientOver(d.cfg.Transport)
	}
	checks := []func(context.Context, *exam){d.checkCertificates, d.checkKafka}
	for _, s := range d.cfg.Services {
		checks = append(checks, func(ctx context.Context, e *exam) { services.checkService(ctx, e, s) })
	}
	checks = append(checks,
		func(ctx context.Context, e *exam) { d.checkExporter(ctx, e, kafkaExporter(d.cfg.JMX)) },
		func(ctx context.Context, e *exam) { d.checkExporter(ctx, e, nodeExporter(d.cfg.Node)) },
		d.checkPrometheus, d.checkAlertmanager, d.checkGrafana,
	)
	exams := make([]exam, len(checks))
	var group sync.WaitGroup
	for i, check := range checks {
		group.Go(func() { check(ctx, &exams[i]) })
	}
	group.Wait()
	var all []symptom
	for _, e := range exams {
		all = append(all, e.symptoms...)
	}
	var last exam // what the others have shown
	d.checkPresented(&last)
	d.checkClocks(&last)
	return append(all, last.symptoms...)
}

// exam collects what one check sees.
type exam struct{ symptoms []symptom }

func (e *exam) ok(part, detail string) {
	e.symptoms = append(e.symptoms, symptom{Finding: Finding{Part: part, OK: true, Detail: detail}})
}

// wrong adds a fault, and returns it for what it may come from.
func (e *exam) wrong(part, detail, remedy string) *symptom {
	e.symptoms = append(e.symptoms, symptom{Finding: Finding{Part: part, Detail: detail, Remedy: remedy}})
	return &e.symptoms[len(e.symptoms)-1]
}

// maxResponse bounds what is read of any answer.
const maxResponse = 16 << 20

// clientOver is a client that takes notice of every answer's clock and
// certificate.
func (d *doctor) clientOver(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: observer{transport, d.seen, d.cfg.Now}, Timeout: d.cfg.Timeout}
}

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
func (d *doctor) reason(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return d.cfg.Words(err)
}

// hasMetric says whether an exposition page has a sample of a metric whose
// name starts so.
func hasMetric(page, prefix string) bool {
	return strings.HasPrefix(page, prefix) || strings.Contains(page, "\n"+prefix)
}

// listed joins names for a sentence.
func listed(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
