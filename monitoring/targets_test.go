package monitoring_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"go.yaml.in/yaml/v3"
)

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
				services(t, "targets/containers/services.yml")
				services(t, "targets/host/services.yml")
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

// services checks that a file lists each service at its documented port.
func services(t *testing.T, path string) {
	t.Helper()
	ports := map[string]string{"commande": "3001", "suivi": "3002", "analyseur": "3003", "paiement": "3004"}
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
