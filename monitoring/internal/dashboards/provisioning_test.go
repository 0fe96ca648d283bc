package dashboards_test

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// source is what these tests need of a provisioned data source.
type source struct {
	Name, UID, Type, URL string
	IsDefault            bool `yaml:"isDefault"`
	JSON                 struct {
		TimeInterval string `yaml:"timeInterval"`
		Exemplars    []struct {
			Name string
			UID  string `yaml:"datasourceUid"`
		} `yaml:"exemplarTraceIdDestinations"`
		Metrics struct {
			UID     string `yaml:"datasourceUid"`
			Queries []struct{ Query string }
		} `yaml:"tracesToMetrics"`
		Logs struct {
			UID         string `yaml:"datasourceUid"`
			CustomQuery bool   `yaml:"customQuery"`
			Query       string
		} `yaml:"tracesToLogsV2"`
		Index        string
		TimeField    string `yaml:"timeField"`
		MessageField string `yaml:"logMessageField"`
		LevelField   string `yaml:"logLevelField"`
		DataLinks    []struct {
			Field, URL string
			UID        string `yaml:"datasourceUid"`
		} `yaml:"dataLinks"`
	} `yaml:"jsonData"`
	Correlations []correlation
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(monitoring + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func sources(t *testing.T) map[string]source {
	t.Helper()
	var file struct{ DataSources []source }
	readYAML(t, "grafana/provisioning/datasources/datasources.yml", &file)
	byUID := map[string]source{}
	for _, s := range file.DataSources {
		if _, twice := byUID[s.UID]; twice || s.UID == "" || s.Name == "" || s.URL == "" {
			t.Errorf("data source %q: its uid %q is missing or not its own, or it has no name or address", s.Name, s.UID)
		}
		byUID[s.UID] = s
	}
	return byUID
}

// The dashboards take the default, which must be a Prometheus whose interval is
// the one that it scrapes at.
func TestDefaultDataSourceIsPrometheus(t *testing.T) {
	var defaults []source
	for _, s := range sources(t) {
		if s.IsDefault {
			defaults = append(defaults, s)
		}
	}
	if len(defaults) != 1 || defaults[0].Type != "prometheus" {
		t.Fatalf("defaults: %v, want one Prometheus", defaults)
	}
	var prometheus struct {
		Global struct {
			Interval string `yaml:"scrape_interval"`
		}
	}
	readYAML(t, "prometheus.yml", &prometheus)
	if got, want := defaults[0].JSON.TimeInterval, prometheus.Global.Interval; got != want || want == "" {
		t.Errorf("the data source's interval is %q, Prometheus scrapes every %q", got, want)
	}
}

// From an exemplar to its trace, from a span to figures and logs.
func TestDataSourcesLeadToEachOther(t *testing.T) {
	all := sources(t)
	leads := map[string]bool{}
	for _, e := range all["prometheus"].JSON.Exemplars {
		if leads[all[e.UID].Type] = true; e.Name != "trace_id" {
			t.Errorf("exemplars have no %s", e.Name)
		}
	}
	if len(leads) != 2 || !leads["jaeger"] || !leads["zipkin"] {
		t.Errorf("exemplars lead to %v", leads)
	}
	traces := all["jaeger"].JSON
	if all[traces.Metrics.UID].Type != "prometheus" {
		t.Errorf("spans lead to the figures of %q", traces.Metrics.UID)
	}
	if len(traces.Metrics.Queries) == 0 {
		t.Error("spans lead to no figures")
	}
	m := metrics(t)
	for _, q := range traces.Metrics.Queries {
		// Grafana puts the span's service there; $$ is a dollar sign in these files.
		if err := m.Check(strings.ReplaceAll(q.Query, "$$__tags", `service="paiement"`)); err != nil {
			t.Error(err)
		}
	}
	if all["alertmanager"].Type != "alertmanager" {
		t.Error("no data source for the alerts")
	}
}

// Dashboards come from where the container has them.
func TestDashboardsAreProvisioned(t *testing.T) {
	var file struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	readYAML(t, "grafana/provisioning/dashboards/dashboards.yml", &file)
	if len(file.Providers) != 1 || file.Providers[0].Type != "file" || file.Providers[0].Options.Path != "/etc/grafana/dashboards" {
		t.Errorf("providers: %+v", file.Providers)
	}
	text, err := os.ReadFile(repository + "/docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, mount := range []string{"./monitoring/grafana/provisioning:/etc/grafana/provisioning:ro", "./monitoring/grafana/dashboards:/etc/grafana/dashboards:ro"} {
		if !strings.Contains(string(text), mount) {
			t.Errorf("docker-compose.yml does not mount %s", mount)
		}
	}
}
