// Package doctor looks at a running system the way a person on call would:
// part by part, from Kafka to the dashboards, and says of what is wrong why and
// how to fix it, once for each cause. It only reads.
//
// doctor.go runs the checks, has that of a service, and makes one finding of what has
// one cause. kafka.go and monitoring.go have the checks of these parts, and shared.go
// those of certificates and clocks, which all parts have.
package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
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
	checks = append(checks, d.monitoringChecks()...)
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
	return append(all, d.checkShown().symptoms...)
}

// checkService checks that a service lives, is ready, and shows its metrics.
func (d *doctor) checkService(ctx context.Context, e *exam, s Service) {
	status, body, err := d.get(ctx, s.URL+"/health/ready")
	switch {
	case err != nil:
		d.serviceAway(e, s, err)
		return
	case status != http.StatusOK:
		why := problem(status, body)
		fault := e.wrong(s.Name, "is not ready: "+why, "The reason names the part that it waits for; its log says more.").like("not ready: " + why)
		if strings.Contains(strings.ToLower(why), "kafka") {
			fault.from(partKafka)
		}
		return
	}
	status, body, err = d.get(ctx, s.URL+"/metrics")
	if err != nil {
		e.wrong(s.Name, "is ready, but its metrics page fails: "+d.reason(err), "Look into its log; a slow page points to an overloaded host.")
		return
	}
	own := fmt.Sprintf("process_uptime_seconds{service=%q}", s.Name)
	if status != http.StatusOK || !hasMetric(body, own) {
		e.wrong(s.Name, fmt.Sprintf("is ready, but %s/metrics (status %d) has no %s", s.URL, status, own),
			"Something else answers at this address: compare with `curl "+s.URL+"/`, which names the service.")
		return
	}
	e.ok(s.Name, "is ready and shows its metrics at "+s.URL+"/metrics")
	for _, match := range regexp.MustCompile(`(?m)^fault_in_force\{fault="([\w-]+)"[^}]*\} 1$`).FindAllStringSubmatch(body, -1) {
		e.wrong(partFaults, "the fault "+match[1]+" is in force: something is broken on purpose", "It ends by itself; `vigie fault stop "+match[1]+"` ends it now.")
	}
	var closed []string
	for _, match := range regexp.MustCompile(`(?m)^probe_success\{partition="(\d+)"[^}]*\} 0$`).FindAllStringSubmatch(body, -1) {
		closed = append(closed, match[1])
	}
	if len(closed) > 0 {
		e.wrong("probe", "the last probe of orders.created/"+strings.Join(closed, ", /")+" did not come through",
			"The page at "+s.URL+" says at which step it failed; docs/journeys.md says what that means.")
	}
}

const partFaults = "faults"

// serviceAway reports a service that cannot be reached, or whose certificate is
// not trusted.
func (d *doctor) serviceAway(e *exam, s Service, err error) {
	remedy := "Start it with `make run`, `make start-all` or `make start`; if it listens elsewhere, say so with --" + s.Name + "-addr."
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		remedy = "Name the authority with --http-tls-ca-file, and the name that the certificate is for with --http-tls-server-name; renew it where it has expired."
		d.seen.present(s.Name, untrusted.UnverifiedCertificates)
	}
	e.away(familyBank, s.Name, s.URL, d.reason(err), remedy).from(partCertificates)
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

// symptom is what was seen of a part, with what it may come from.
type symptom struct {
	Finding
	// because are the parts whose fault explains this one, the likeliest first.
	because []string
	// alike marks a fault that several parts show where one thing is wrong with
	// all of them: those with the same mark are one finding. "" is like no other.
	alike string
	// away says where a part does not answer, and why; nil where it does.
	away *absence
}

type absence struct{ where, reason string }

// from says whose fault this may be.
func (s *symptom) from(parts ...string) *symptom {
	s.because = append(s.because, parts...)
	return s
}

// like gives the symptom its mark.
func (s *symptom) like(mark string) *symptom {
	s.alike = mark
	return s
}

// Families of parts, which are started together.
const (
	familyBank       = "bank"
	familyMonitoring = "monitoring"

	remedyNothing = "Start it with `make run`, or `make start` for the whole stack in Docker; what listens elsewhere is named by --kafka-brokers, --commande-addr and their like."
)

// away adds a part that does not answer. Those of one family that do not answer
// for the same reason are one finding.
func (e *exam) away(family, part, where, reason, remedy string) *symptom {
	_, host, _ := strings.Cut(where, "://")
	host, _, _ = strings.Cut(host, "/")
	if host == "" {
		host = where
	}
	reason = strings.TrimSpace(strings.ReplaceAll(reason, host, ""))
	s := e.wrong(part, "does not answer at "+where+": "+reason, remedy)
	s.away = &absence{where, reason}
	return s.like(family + " is away: " + reason)
}

// oneForEachCause makes one finding of all that has one cause: of a part's fault
// and what follows from it elsewhere, and of parts that show the same.
func oneForEachCause(symptoms []symptom) []Finding {
	return merge(explained(nothingRuns(symptoms)))
}

// nothingRuns has all parts share a mark where none of them answers.
func nothingRuns(symptoms []symptom) []symptom {
	const fewest = 3 // parts: the fault of one or two is their own
	away := 0
	for _, s := range symptoms {
		switch {
		case s.away != nil:
			away++
		case s.Part != partCertificates:
			return symptoms
		}
	}
	for i := range symptoms {
		if away >= fewest && symptoms[i].away != nil {
			symptoms[i].alike, symptoms[i].Remedy = "nothing runs", remedyNothing
		}
	}
	return symptoms
}

// explained leaves out what another part's fault explains, and says there what
// it affects.
func explained(symptoms []symptom) []symptom {
	causes := make([]int, len(symptoms))
	for i := range symptoms {
		causes[i] = cause(symptoms, i)
	}
	for i, s := range symptoms {
		root := i
		for range symptoms { // bounded, should two faults explain each other
			root = causes[root]
		}
		if root != i {
			symptoms[root].Affects = append(symptoms[root].Affects, s.Part+" "+s.Detail)
		}
	}
	var out []symptom
	for i, s := range symptoms {
		if causes[i] == i {
			out = append(out, s)
		}
	}
	return out
}

// cause is the symptom that explains the one at i, or i itself.
func cause(symptoms []symptom, i int) int {
	for _, part := range symptoms[i].because {
		for j := range symptoms {
			if j != i && !symptoms[j].OK && symptoms[j].Part == part {
				return j
			}
		}
	}
	return i
}

// merge makes one finding of the symptoms with the same mark, where the first one
// was.
func merge(symptoms []symptom) (out []Finding) {
	done := map[string]bool{}
	for i, s := range symptoms {
		if s.alike == "" {
			out = append(out, s.Finding)
			continue
		}
		if !done[s.alike] {
			done[s.alike] = true
			out = append(out, merged(slices.DeleteFunc(slices.Clone(symptoms[i:]), func(other symptom) bool { return other.alike != s.alike })))
		}
	}
	return out
}

// merged is one finding for symptoms that are alike.
func merged(all []symptom) Finding {
	out := all[0].Finding
	if len(all) == 1 {
		return out
	}
	var parts, details, reasons []string
	for i, s := range all {
		parts = append(parts, s.Part)
		if i > 0 {
			out.Affects = append(out.Affects, s.Affects...)
		}
		if s.away == nil {
			details = append(details, s.Detail)
		} else {
			details, reasons = append(details, s.away.where), append(reasons, s.away.reason)
		}
	}
	out.Part, out.Affects = listed(unique(parts)), unique(out.Affects)
	out.Detail = strings.Join(unique(details), "; ")
	if reasons != nil {
		out.Detail = "do not answer: " + strings.Join(unique(reasons), "; ") + " (" + strings.Join(unique(details), ", ") + ")"
	}
	return out
}

func unique(texts []string) (out []string) {
	for _, t := range texts {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}
