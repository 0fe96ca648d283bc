package monitoring_test

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
)

func prometheus(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.LoadFile("prometheus.yml", false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Prometheus takes the configuration, and it asks for what the dashboards and
// alerts rest on.
func TestPrometheusConfiguration(t *testing.T) {
	c := prometheus(t)
	if first := c.GlobalConfig.ScrapeProtocols[0]; first != config.OpenMetricsText1_0_0 {
		t.Errorf("pages are asked for as %s first, which carries no exemplars", first)
	}
	if c.StorageConfig.ExemplarsConfig == nil || c.StorageConfig.ExemplarsConfig.MaxExemplars == 0 {
		t.Error("exemplars are not stored")
	}
	if len(c.AlertingConfig.AlertmanagerConfigs) != 1 {
		t.Errorf("%d alertmanagers", len(c.AlertingConfig.AlertmanagerConfigs))
	}
	for _, pattern := range c.RuleFiles {
		if found := files(t, pattern); len(found) != len(files(t, "rules/*.yml")) {
			t.Errorf("%s are %d files", pattern, len(found))
		}
	}
	var jobs []string
	for _, job := range c.ScrapeConfigs {
		jobs = append(jobs, job.JobName)
		if job.ScrapeInterval != c.GlobalConfig.ScrapeInterval {
			t.Errorf("job %s has an interval of its own: Grafana's $__rate_interval knows one", job.JobName)
		}
		if job.JobName == "services" && !job.HonorLabels {
			t.Error("the services' own label service would be renamed")
		}
	}
	if want := []string{"services", "kafka", "node", "prometheus", "alertmanager", "otel-collector", "jaeger"}; !slices.Equal(jobs, want) {
		t.Errorf("jobs %v, want %v", jobs, want)
	}
	if interval := time.Duration(c.GlobalConfig.ScrapeInterval); interval < 5*time.Second || interval > 15*time.Second {
		t.Errorf("scrapes every %v", interval)
	}
}
