package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

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
