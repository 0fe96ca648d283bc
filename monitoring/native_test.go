//go:build unix

package monitoring_test

import (
	"bufio"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/file"

	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

// put writes a file for a test, executable.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
}

// only is a PATH with the programs named.
func only(t *testing.T, programs ...string) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range programs {
		at, err := exec.LookPath(name)
		if err != nil {
			t.Skipf("no %s here", name)
		}
		if err := os.Symlink(at, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// An installed Grafana gets the shipped provisioning with addresses of this
// machine alone, listens on loopback, and keeps everything in one folder.
func TestGrafanaIsRunOnTheShippedProvisioning(t *testing.T) {
	home, data := t.TempDir(), filepath.Join(t.TempDir(), "grafana")
	put(t, filepath.Join(home, "conf", "defaults.ini"), "")
	put(t, filepath.Join(home, "bin", "grafana"), "#!/bin/sh\necho \"$*\"\nenv | grep ^GF_\n")
	cmd := exec.CommandContext(t.Context(), "sh", repo.Path(t, "tools", "grafana.sh"))
	cmd.Env = append(os.Environ(), "GRAFANA_HOME="+home, "GRAFANA_DATA="+data, "PROMETHEUS_URL=http://127.0.0.1:19090", "GRAFANA_ADDR=127.0.0.1:13000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"http://127.0.0.1:13000", "server --homepath " + home, "GF_SERVER_HTTP_ADDR=127.0.0.1\n", "GF_SERVER_HTTP_PORT=13000\n",
		"GF_PATHS_DATA=" + data, "GF_PATHS_PROVISIONING=" + data + "/provisioning", "GF_ANALYTICS_REPORTING_ENABLED=false",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("Grafana is started without %s:\n%s", want, out)
		}
	}
	sources, err := os.ReadFile(filepath.Join(data, "provisioning", "datasources", "datasources.yml"))
	if err != nil {
		t.Fatal(err)
	}
	urls := regexp.MustCompile(`url: '?(http\S+)`).FindAllStringSubmatch(string(sources), -1)
	for _, url := range urls {
		if !strings.HasPrefix(url[1], "http://127.0.0.1:") {
			t.Errorf("a data source is at %s", url[1])
		}
	}
	if len(urls) < 5 || !strings.Contains(string(sources), "url: http://127.0.0.1:19090\n") {
		t.Errorf("data sources: %s", sources)
	}
	dashboards, err := os.ReadFile(filepath.Join(data, "provisioning", "dashboards", "dashboards.yml"))
	if err != nil || !strings.Contains(string(dashboards), "path: "+repo.Path(t, "monitoring", "grafana", "dashboards")+"\n") {
		t.Errorf("dashboards: %s, %v", dashboards, err)
	}
}

// Where there is no Grafana, one line says how to get it.
func TestWithoutGrafana(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", repo.Path(t, "tools", "grafana.sh"))
	cmd.Env = []string{"PATH=" + only(t, "sh", "dirname", "readlink"), "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "GRAFANA_HOME") {
		t.Errorf("%v: %s", err, out)
	}
}

// The real servers get the shipped configuration with addresses of this machine,
// and end together.
func TestMonitoringIsRunNatively(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{
		"tools/monitoring-native.sh", "monitoring/prometheus.yml", "monitoring/alertmanager.yml", "monitoring/targets/host/services.yml",
		"monitoring/rules/services.yml", "internal/testenv/servers/build.go",
	} {
		put(t, filepath.Join(folder, name), repo.Read(t, name))
	}
	const fake = "#!/bin/sh\necho \"$(basename \"$0\") $*\" >>\"$CALLS\"\nexec sleep 600\n"
	put(t, filepath.Join(folder, "bin", "vigie"), fake)
	cache := filepath.Join(folder, "cache", "vigie", "servers")
	exporter := regexp.MustCompile(`exporterVersion *= "(.*)"`).FindStringSubmatch(repo.Read(t, "internal/testenv/servers/build.go"))[1]
	for _, name := range []string{"prometheus-v1", "alertmanager-v1", "node_exporter-" + exporter} {
		put(t, filepath.Join(cache, name), fake)
	}
	bin := only(t, "bash", "dirname", "basename", "sed", "mkdir", "cp", "cat", "tail", "sleep", "sh")
	put(t, filepath.Join(bin, "go"), "#!/bin/sh\necho v1\n")
	calls := filepath.Join(folder, "calls")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "bash"), filepath.Join(folder, "tools", "monitoring-native.sh"))
	cmd.Env = []string{"PATH=" + bin, "HOME=" + folder, "XDG_CACHE_HOME=" + filepath.Join(folder, "cache"), "CALLS=" + calls, "PROMETHEUS=127.0.0.1:19090"}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for said.Scan() && !strings.Contains(said.Text(), "Ctrl-C stops") { // until it says so
	}
	staged := filepath.Join(folder, "data-native", "config")
	loaded, err := config.LoadFile(filepath.Join(staged, "prometheus.yml"), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range loaded.ScrapeConfigs {
		for _, name := range job.ServiceDiscoveryConfigs[0].(*file.SDConfig).Files {
			found, err := filepath.Glob(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range found {
				text, err := os.ReadFile(one)
				if err != nil {
					t.Fatal(err)
				}
				for _, address := range regexp.MustCompile(`'(\S+:\d+)'`).FindAllStringSubmatch(string(text), -1) {
					if !strings.HasPrefix(address[1], "127.0.0.1:") {
						t.Errorf("%s has %s", one, address[1])
					}
				}
			}
			if len(found) == 0 && !strings.Contains(name, "optional") {
				t.Errorf("job %s has no %s", job.JobName, name)
			}
		}
	}
	called := callsOf(t, calls, 4)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for said.Scan() { // to its end
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to stop, it ended with %v", err)
	}
	for _, want := range []string{
		"prometheus-v1 --config.file=" + staged + "/prometheus.yml", "--web.listen-address=127.0.0.1:19090", "alertmanager-v1 --config.file=" + staged + "/alertmanager.yml",
		"node_exporter-" + exporter + " --web.listen-address=127.0.0.1:9100", "vigie alerts --alerts-addr 127.0.0.1:3099",
	} {
		if !strings.Contains(called, want) {
			t.Errorf("nothing was started with %s:\n%s", want, called)
		}
	}
}

// callsOf waits until so many programs have been started.
func callsOf(t *testing.T, path string, programs int) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if strings.Count(string(text), "\n") >= programs {
			return string(text)
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("fewer than %d programs were started", programs)
	return ""
}
