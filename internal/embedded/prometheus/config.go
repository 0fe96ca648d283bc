package prometheus

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v4"
)

const configFile = "prometheus.yml"

// The jobs of the shipped configuration that have targets here; rules and
// dashboards know them by these names. The others are left out.
const (
	jobServices      = "services"
	jobSelf          = "prometheus"
	jobAlertmanagers = "alertmanager"
)

// ErrAlertmanager: an Alertmanager's address is not one.
var ErrAlertmanager = errors.New("not the URL of an Alertmanager")

// effective is the shipped configuration with the targets given, and itself, in
// the place of files that list them. Jobs without targets are left out.
func (s *Server) effective(targets []Target) (*config.Config, error) {
	text, err := fs.ReadFile(s.cfg.Files, configFile)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var shipped map[string]any
	if err := yaml.Unmarshal(text, &shipped); err != nil {
		return nil, fmt.Errorf("read %s: %w", configFile, err)
	}
	jobs, err := s.jobs(targets)
	if err != nil {
		return nil, err
	}
	var scraped []any
	for _, shippedJob := range list(shipped["scrape_configs"]) {
		job, _ := shippedJob.(map[string]any)
		name, _ := job["job_name"].(string)
		if place := jobs[name]; place != nil {
			delete(job, "file_sd_configs")
			for key, value := range place {
				job[key] = value
			}
			scraped = append(scraped, job)
		}
	}
	shipped["scrape_configs"] = scraped
	alerting, ok := shipped["alerting"].(map[string]any)
	if !ok {
		alerting = map[string]any{}
	}
	if alerting["alertmanagers"], err = s.alertmanagers(); err != nil {
		return nil, err
	}
	shipped["alerting"] = alerting // with what is taken off before alerts are sent
	if text, err = yaml.Marshal(shipped); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	cfg, err := config.Load(string(text), s.cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", configFile, err)
	}
	return cfg, nil
}

// jobs are the settings that replace the shipped ones, by the job's name.
func (s *Server) jobs(targets []Target) (map[string]map[string]any, error) {
	jobs := map[string]map[string]any{jobSelf: {"static_configs": []any{staticTarget(s.address, nil)}}}
	var services []any
	for _, t := range targets {
		address, err := url.Parse(t.URL)
		if err != nil || address.Host == "" {
			return nil, fmt.Errorf("target %s: %q is not a URL", t.Service, t.URL)
		}
		services = append(services, staticTarget(reachable(address.Host), map[string]string{
			"service": t.Service, "__scheme__": address.Scheme,
		}))
	}
	if services != nil {
		jobs[jobServices] = map[string]any{"static_configs": services}
		if s.cfg.CertFile != "" {
			name, err := nameIn(s.cfg.CertFile)
			if err != nil {
				return nil, err
			}
			jobs[jobServices]["tls_config"] = map[string]any{"ca_file": s.cfg.CertFile, "server_name": name}
		}
	}
	for _, raw := range s.cfg.Alertmanagers {
		address, err := alertmanagerURL(raw)
		if err != nil {
			return nil, err
		}
		if jobs[jobAlertmanagers] == nil {
			jobs[jobAlertmanagers] = map[string]any{}
		}
		jobs[jobAlertmanagers]["static_configs"] = append(list(jobs[jobAlertmanagers]["static_configs"]),
			staticTarget(address.Host, map[string]string{"__scheme__": address.Scheme, "__metrics_path__": address.JoinPath("metrics").Path}))
	}
	return jobs, nil
}

// alertmanagers says where alerts are sent.
func (s *Server) alertmanagers() (any, error) {
	var all []any
	for _, raw := range s.cfg.Alertmanagers {
		address, err := alertmanagerURL(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, map[string]any{
			"scheme": address.Scheme, "path_prefix": address.Path, "static_configs": []any{staticTarget(address.Host, nil)},
		})
	}
	return all, nil
}

func alertmanagerURL(raw string) (*url.URL, error) {
	address, err := url.Parse(raw)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") || address.User != nil || address.RawQuery != "" {
		return nil, fmt.Errorf("%w: %q; want one such as http://127.0.0.1:9093", ErrAlertmanager, raw)
	}
	return address, nil
}

func staticTarget(address string, labels map[string]string) any {
	return map[string]any{"targets": []string{address}, "labels": labels}
}

func list(value any) []any {
	all, _ := value.([]any)
	return all
}

// reachable is an address to send requests to, of one to listen on.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// nameIn is a name that a certificate is for. The scraper trusts the certificate
// itself, and the services are asked by their address, which it may not have.
func nameIn(certFile string) (string, error) {
	text, err := os.ReadFile(certFile) //nolint:gosec // the operator names it
	if err != nil {
		return "", fmt.Errorf("read the services' certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("read the services' certificate: %s has none", certFile)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("read the services' certificate: %s: %w", certFile, err)
	}
	switch {
	case len(certificate.DNSNames) > 0:
		return certificate.DNSNames[0], nil
	case len(certificate.IPAddresses) > 0:
		return certificate.IPAddresses[0].String(), nil
	default:
		return "", fmt.Errorf("the services' certificate: %s is for no name", certFile)
	}
}
