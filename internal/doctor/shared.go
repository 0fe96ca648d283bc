package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Findings about what all parts have.
const (
	partCertificates = "certificates"
	partClocks       = "clocks"
)

// CertificateFile is a file with certificates, PEM, and the setting that names it.
type CertificateFile struct{ Setting, Path string }

// shared is what the parts have shown of what they have in common.
type shared struct {
	mu        sync.Mutex
	presented map[string]*x509.Certificate // by who shows it
	clocks    map[string]time.Duration     // how far another's is ahead, by address
}

// present notes a certificate that a part shows.
func (s *shared) present(who string, chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.presented == nil {
		s.presented = map[string]*x509.Certificate{}
	}
	s.presented[who] = chain[0]
}

// tell notes how far a part's clock is ahead at the least, 0 where it may be right.
func (s *shared) tell(where string, ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clocks == nil {
		s.clocks = map[string]time.Duration{}
	}
	s.clocks[where] = ahead
}

// observer takes notice of the clocks and certificates of all who answer.
type observer struct {
	http.RoundTripper
	seen *shared
	now  func() time.Time
}

// RoundTrip implements [http.RoundTripper].
func (o observer) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := o.now()
	response, err := o.RoundTripper.RoundTrip(r)
	if err != nil {
		return response, err
	}
	answered := o.now()
	if response.TLS != nil {
		o.seen.present(r.URL.Host, response.TLS.PeerCertificates)
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		o.seen.tell(r.URL.Host, ahead(date, asked, answered))
	}
	return response, nil
}

// ahead is how far a clock is ahead that said date, in whole seconds, between two
// moments of ours: as little as it can be, negative where it is behind.
func ahead(date, asked, answered time.Time) time.Duration {
	switch first, last := date, date.Add(time.Second); {
	case first.After(answered):
		return first.Sub(answered)
	case last.Before(asked):
		return last.Sub(asked)
	default:
		return 0
	}
}

// checkShown looks at what all parts have shown by their answers.
func (d *doctor) checkShown() (e exam) {
	d.checkPresented(&e)
	d.checkClocks(&e)
	return e
}

// clockTolerance is how far clocks may be apart: what is ordered by them is then
// still in order for people, and NTP keeps them far closer.
const clockTolerance = 5 * time.Second

// checkClocks compares the clocks of all who answered with ours.
func (d *doctor) checkClocks(e *exam) {
	var wrong []string
	for where, ahead := range d.seen.clocks {
		switch {
		case ahead > clockTolerance:
			wrong = append(wrong, fmt.Sprintf("that of %s is %s ahead of this machine's", where, ahead.Truncate(time.Second)))
		case ahead < -clockTolerance:
			wrong = append(wrong, fmt.Sprintf("that of %s is %s behind this machine's", where, (-ahead).Truncate(time.Second)))
		}
	}
	slices.Sort(wrong)
	switch {
	case len(wrong) > 0:
		e.wrong(partClocks, strings.Join(wrong, "; "), "Set the clocks by NTP; docs/operations.md says what a wrong one does.").like(partClocks)
	case len(d.seen.clocks) > 0:
		e.ok(partClocks, "of all who answered agree within "+clockTolerance.String())
	}
}

// expiresSoon says whether it is time to renew a certificate: less than a fifth of
// its life is left, and less than thirty days. Who renews by a program does so at
// a third.
func expiresSoon(c *x509.Certificate, now time.Time) bool {
	const days = 30
	return c.NotAfter.Sub(now) < min(days*24*time.Hour, c.NotAfter.Sub(c.NotBefore)/5) //nolint:mnd // a fifth
}

// validity says what is wrong with a certificate's time, "" for nothing.
func validity(c *x509.Certificate, now time.Time) string {
	const day = "2006-01-02 15:04 MST"
	name := c.Subject.CommonName
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("%q has expired on %s", name, c.NotAfter.UTC().Format(day))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("%q is valid only from %s on", name, c.NotBefore.UTC().Format(day))
	case expiresSoon(c, now):
		return fmt.Sprintf("%q expires on %s", name, c.NotAfter.UTC().Format(day))
	default:
		return ""
	}
}

const remedyCertificate = "Renew it; files that settings name are read again when they change."

// checkCertificates looks at the files that settings name.
func (d *doctor) checkCertificates(_ context.Context, e *exam) {
	for _, f := range d.cfg.Certificates {
		certificates, err := readCertificates(f.Path)
		if err != nil {
			e.wrong(partCertificates, f.Setting+": "+d.reason(err), "See that the setting names a file of certificates, PEM.")
			continue
		}
		first := ""
		for _, c := range certificates {
			if wrong := validity(c, d.cfg.Now()); wrong != "" {
				e.wrong(partCertificates, fmt.Sprintf("%s in %s (%s)", wrong, f.Path, f.Setting), remedyCertificate).like(certificateMark(c))
			}
			if end := c.NotAfter.UTC().Format(time.DateOnly); first == "" || end < first {
				first = end
			}
		}
		if !slices.ContainsFunc(certificates, func(c *x509.Certificate) bool { return validity(c, d.cfg.Now()) != "" }) {
			e.ok(partCertificates, fmt.Sprintf("%s (%s): valid until %s", f.Path, f.Setting, first))
		}
	}
}

// certificateMark is the same for one certificate wherever it is met.
func certificateMark(c *x509.Certificate) string { return "certificate " + string(c.Raw) }

// checkPresented looks at the certificates that parts have shown.
func (d *doctor) checkPresented(e *exam) {
	var who []string
	for one := range d.seen.presented {
		who = append(who, one)
	}
	slices.Sort(who)
	for _, one := range who {
		if wrong := validity(d.seen.presented[one], d.cfg.Now()); wrong != "" {
			e.wrong(partCertificates, fmt.Sprintf("%s, which %s shows", wrong, one), remedyCertificate).like(certificateMark(d.seen.presented[one]))
		}
	}
}

// errNoCertificates: a file holds something else.
var errNoCertificates = errors.New("no certificate is in it")

func readCertificates(path string) (all []*x509.Certificate, err error) {
	content, err := os.ReadFile(path) //nolint:gosec // the caller's choice
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(bytes.TrimSpace(content)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", path, errNoCertificates)
	}
	return all, nil
}
