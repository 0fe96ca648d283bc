package doctor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/doctor"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
)

func kafkaDown(context.Context) (doctor.Kafka, error) {
	return doctor.Kafka{}, &doctor.AwayError{Where: "k:9092", Err: syscall.ECONNREFUSED}
}

func named(t *testing.T, name string, p part) doctor.Service {
	t.Helper()
	return doctor.Service{Name: name, URL: serve(t, p)}
}

// One cause is one finding, whatever it is seen by.
func TestOneCauseIsOneFinding(t *testing.T) {
	waiting := func() part {
		return with(healthyService(), "/health/ready", `503|{"detail":"Not ready: kafka: no broker answers."}`)
	}
	for name, tt := range map[string]struct {
		cfg     func() doctor.Config
		part    string
		affects []string // parts
	}{
		"Kafka is down": {func() doctor.Config {
			return doctor.Config{
				Kafka:      kafkaDown,
				Services:   []doctor.Service{named(t, "commande", waiting()), named(t, "suivi", waiting())},
				JMX:        serve(t, part{"/": "jmx_scrape_error 1.0\nkafka_server_x 1\n"}),
				Prometheus: serve(t, with(with(healthyPrometheus(), "/api/v1/targets", downAlso), "/api/v1/query", noSeries)),
				Dashboards: boards(t, board),
			}
		}, "Kafka", []string{"commande", "suivi", "JMX exporter", "Prometheus", "dashboards"}},
		"a database that two wait for": {func() doctor.Config {
			away := func() part {
				return with(healthyService(), "/health/ready", `503|{"detail":"Not ready: storage: no answer."}`)
			}
			return doctor.Config{Services: []doctor.Service{named(t, "commande", away()), named(t, "suivi", away())}}
		}, "commande and suivi", nil},
		"a service is away": {func() doctor.Config {
			return doctor.Config{
				Kafka: func(context.Context) (doctor.Kafka, error) {
					return doctor.Kafka{Groups: []doctor.Group{{Name: "suivi-svc", Service: "suivi", Behind: 3}}}, nil
				},
				Services: []doctor.Service{{Name: "suivi", URL: gone(t)}},
				Prometheus: serve(t, with(healthyPrometheus(), "/api/v1/targets",
					strings.NewReplacer("commande", "suivi", `"up"`, `"down"`).Replace(oneTarget))),
			}
		}, "suivi", []string{"suivi-svc", "Prometheus"}},
		"two targets that only Prometheus does not reach": {func() doctor.Config {
			two := `{"status":"success","data":{"activeTargets":[{"labels":{"job":"node"},"scrapeUrl":"http://n","health":"down"},{"labels":{"job":"kafka"},"scrapeUrl":"http://k","health":"down"}]}}`
			return doctor.Config{Prometheus: serve(t, with(healthyPrometheus(), "/api/v1/targets", two))}
		}, "Prometheus", nil},
		"the stack is not started": {func() doctor.Config {
			return doctor.Config{Services: []doctor.Service{named(t, "commande", healthyService())}, JMX: gone(t), Node: gone(t), Grafana: gone(t)}
		}, "JMX exporter, node exporter and Grafana", nil},
		"nothing runs": {func() doctor.Config {
			return doctor.Config{
				Kafka: kafkaDown, Services: []doctor.Service{{Name: "commande", URL: gone(t)}, {Name: "suivi", URL: gone(t)}},
				JMX: gone(t), Prometheus: gone(t),
			}
		}, "Kafka, commande, suivi, JMX exporter and Prometheus", nil},
	} {
		t.Run(name, func(t *testing.T) {
			well, findings := run(t, tt.cfg())
			wrong := slices.DeleteFunc(findings, func(f doctor.Finding) bool { return f.OK })
			if well || len(wrong) != 1 || wrong[0].Part != tt.part || wrong[0].Remedy == "" {
				t.Fatalf("well: %v, %d findings: %+v", well, len(wrong), wrong)
			}
			if len(wrong[0].Affects) != len(tt.affects) {
				t.Fatalf("it affects %q, want %q", wrong[0].Affects, tt.affects)
			}
			for i, of := range tt.affects {
				if !strings.HasPrefix(wrong[0].Affects[i], of+" ") {
					t.Errorf("it affects %q, want %s", wrong[0].Affects[i], of)
				}
			}
		})
	}
}

// secured is a service that shows a certificate, and how it is trusted.
func secured(t *testing.T, name string, pair testcerts.Pair, authority string) (doctor.Service, *http.Transport) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(healthyService())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(authority)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no authority", err)
	}
	return doctor.Service{Name: name, URL: server.URL}, &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
	}
}

// A certificate that expires, or has expired, is one finding, of the file and of
// whoever shows it.
func TestCertificatesAreLookedAt(t *testing.T) {
	authority := testcerts.New(t, "test")
	pair := authority.Sign(t, "bank") // for a day
	service, transport := secured(t, "commande", pair, authority.File)
	files := []doctor.CertificateFile{{Setting: "HTTP_TLS_CA_FILE", Path: authority.File}, {Setting: "KAFKA_TLS_CERT_FILE", Path: pair.CertFile}}
	look := func(at time.Duration, files ...doctor.CertificateFile) []doctor.Finding {
		_, findings := run(t, doctor.Config{
			Certificates: files, Services: []doctor.Service{service}, Transport: transport,
			Now: func() time.Time { return time.Now().Add(at) },
		})
		return slices.DeleteFunc(findings, func(f doctor.Finding) bool { return f.Part != "certificates" })
	}
	for _, f := range look(0, files...) {
		if !f.OK || !strings.Contains(f.Detail, "valid until") {
			t.Errorf("of valid certificates it says %+v", f)
		}
	}
	expect(t, look(22*time.Hour, files[1]), []string{`certificates "bank" expires on`})
	expect(t, look(25*time.Hour, files[1]), []string{`certificates "bank" has expired on`})
	expect(t, look(25*time.Hour), []string{`certificates "bank" has expired on`}) // as the service shows it
	expect(t, look(-25*time.Hour), []string{`certificates "bank" is valid only from`})

	other := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(other, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, look(0, doctor.CertificateFile{Setting: "HTTP_TLS_CA_FILE", Path: other}), []string{"certificates HTTP_TLS_CA_FILE: " + other + ": no certificate is in it"})
}

// A service whose certificate nobody vouches for is said to be untrusted, not away
// for want of a start.
func TestAnUntrustedCertificateIsNamed(t *testing.T) {
	service, transport := secured(t, "commande", testcerts.New(t, "test").Sign(t, "bank"), testcerts.New(t, "other").File)
	_, findings := run(t, doctor.Config{Services: []doctor.Service{service}, Transport: transport})
	if len(findings) != 1 || !strings.Contains(findings[0].Detail, "unknown authority") || !strings.Contains(findings[0].Remedy, "--http-tls-ca-file") {
		t.Errorf("%+v", findings)
	}
}

// Clocks that are apart are one finding that says whose is how far off.
func TestClocksAreCompared(t *testing.T) {
	services := []doctor.Service{named(t, "commande", healthyService()), named(t, "suivi", healthyService())}
	for off, want := range map[time.Duration]string{
		0: "", -2 * time.Second: "", time.Hour: " behind this machine's", -time.Hour: " ahead of this machine's",
	} {
		_, findings := run(t, doctor.Config{Services: services, Now: func() time.Time { return time.Now().Truncate(time.Second).Add(off) }})
		clocks := slices.DeleteFunc(findings, func(f doctor.Finding) bool { return f.Part != "clocks" })
		if len(clocks) != 1 || clocks[0].OK != (want == "") || want != "" && strings.Count(clocks[0].Detail, want) != len(services) {
			t.Errorf("%s off: %+v, want %q", off, clocks, want)
		}
	}
}
