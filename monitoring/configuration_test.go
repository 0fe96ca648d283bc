//go:build unix

package monitoring_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	alertmanager "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/services"
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

// targetFiles are a job's files, as written.
func targetFiles(t *testing.T, job *config.ScrapeConfig) []string {
	t.Helper()
	var found []string
	for _, discovery := range job.ServiceDiscoveryConfigs {
		from, ok := discovery.(*file.SDConfig)
		if !ok {
			t.Fatalf("job %s finds its targets by %s, want files", job.JobName, discovery.Name())
		}
		for _, name := range from.Files {
			relative, err := filepath.Rel(mustAbs(t, "."), mustAbs(t, name))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, filepath.ToSlash(relative))
		}
	}
	return found
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return absolute
}

// groups reads a file of targets.
func groups(t *testing.T, path string) []*targetgroup.Group {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []*targetgroup.Group
	if err := yaml.Unmarshal(text, &found); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return found
}

// Each file that the configuration names is shipped, in the folders that are
// mounted there, and has targets exactly where its part is started.
func TestTargetFiles(t *testing.T) {
	for _, job := range prometheus(t).ScrapeConfigs {
		for _, name := range targetFiles(t, job) {
			folder, file := filepath.Split(strings.TrimPrefix(name, "targets/"))
			switch folder {
			case "stack/":
				if n := len(groups(t, name)); n != 1 {
					t.Errorf("%s: %d targets", name, n)
				}
			case "services/":
				checkServices(t, "targets/containers/services.yml")
				checkServices(t, "targets/host/services.yml")
			case "optional/":
				if n := len(groups(t, "targets/available/"+file)); n != 1 {
					t.Errorf("targets/available/%s: %d targets", file, n)
				}
				if n := len(groups(t, "targets/none/"+file)); n != 0 {
					t.Errorf("targets/none/%s: %d targets", file, n)
				}
			default:
				t.Errorf("job %s: %s is mounted from nowhere", job.JobName, name)
			}
		}
	}
}

// checkServices checks that a file lists each service at its own port.
func checkServices(t *testing.T, path string) {
	t.Helper()
	ports := map[string]string{}
	for _, s := range services.All() {
		_, ports[s.Name], _ = strings.Cut(s.Address, ":")
	}
	for _, group := range groups(t, path) {
		service := string(group.Labels["service"])
		for _, target := range group.Targets {
			if _, port, _ := strings.Cut(string(target["__address__"]), ":"); port == "" || port != ports[service] {
				t.Errorf("%s: %s at %s", path, service, target["__address__"])
			}
		}
		delete(ports, service)
	}
	if len(ports) > 0 {
		t.Errorf("%s lacks %v", path, ports)
	}
}

// alertmanagerFiles are the configuration and its variants.
func alertmanagerFiles(t *testing.T) []string {
	t.Helper()
	return append(files(t, "alertmanager/*.yml"), "alertmanager.yml")
}

// Alertmanager takes each configuration; they differ in receivers alone.
func TestAlertmanagerConfigurations(t *testing.T) {
	shipped, err := alertmanager.LoadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range alertmanagerFiles(t) {
		c, err := alertmanager.LoadFile(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for what, pair := range map[string][2]any{
			"route": {c.Route, shipped.Route}, "inhibit_rules": {c.InhibitRules, shipped.InhibitRules},
		} {
			if got, want := text(t, pair[0]), text(t, pair[1]); got != want {
				t.Errorf("%s of %s:\n%s\nof alertmanager.yml:\n%s", what, name, got, want)
			}
		}
		for _, receiver := range c.Receivers {
			if receiver.Name != "watchdog" && len(receiver.WebhookConfigs) != 1 {
				t.Errorf("%s: %s does not log", name, receiver.Name)
			}
		}
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	out, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What inhibits and what is inhibited are alerts that there are, of services that there
// are.
func TestInhibitionNamesAlerts(t *testing.T) {
	c, err := alertmanager.LoadFile("alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	known, running := alerts(t), services.All().Names()
	slices.Sort(running)
	for _, rule := range c.InhibitRules {
		for _, matcher := range slices.Concat(rule.SourceMatchers, rule.TargetMatchers) {
			for name := range strings.SplitSeq(matcher.Value, "|") {
				_, alert := known[name]
				_, service := slices.BinarySearch(running, name)
				if alert && matcher.Name == "alertname" || service && matcher.Name == "service" {
					continue
				}
				t.Errorf("inhibition by %s", matcher)
			}
		}
	}
}

// promtool finds more in rules than their parser: duplicates, for one.
func TestPromtoolChecksTheRules(t *testing.T) {
	promtool := servers.Tool(t, servers.Promtool)
	args := append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files(t, "rules/*.yml")...)
	if output, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, output)
	}
}

func TestAmtoolChecksTheConfigurations(t *testing.T) {
	amtool := servers.Tool(t, servers.Amtool)
	for _, file := range alertmanagerFiles(t) {
		if output, err := exec.CommandContext(t.Context(), amtool, "check-config", file).CombinedOutput(); err != nil {
			t.Errorf("amtool check-config %s: %v\n%s", file, err, output)
		}
	}
}

// Alerts reach whom their severity says, and none is lost.
func TestAmtoolRoutesAlerts(t *testing.T) {
	amtool := servers.Tool(t, servers.Amtool)
	for severity, want := range map[string]string{"critical": "critical", "warning": "warning", "none": "watchdog", "unheard-of": "log"} {
		for _, file := range alertmanagerFiles(t) {
			output, err := exec.CommandContext(t.Context(), amtool, "config", "routes", "test", "--config.file="+file,
				"alertname=ServiceDown", "service=paiement", "severity="+severity).CombinedOutput()
			if got := strings.TrimSpace(string(output)); err != nil || got != want {
				t.Errorf("%s: severity %s goes to %q, want %s: %v", file, severity, got, want, err)
			}
		}
	}
}

// The exporter ends at once with a rule whose label is a number: YAML reads 0.99 as one.
func TestLabelsOfKafkasExporterAreTexts(t *testing.T) {
	var file struct {
		Rules []struct {
			Name   string
			Labels map[string]any
		}
	}
	readYAML(t, "jmx/kafka.yml", &file)
	labels := 0
	for _, rule := range file.Rules {
		for label, value := range rule.Labels {
			labels++
			if _, ok := value.(string); !ok {
				t.Errorf("%s: the label %s is %v, a %T", rule.Name, label, value, value)
			}
		}
	}
	if labels == 0 {
		t.Error("no rule has a label")
	}
}
