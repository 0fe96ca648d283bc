//go:build !race || whole

package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/monitoring"
)

// patience bounds what should happen at once, on a loaded machine.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if dir := os.Getenv(runVariable); dir != "" {
		run(dir)
	}
	leaks.Main(m)
}

// running is a server under test, and its API.
type running struct {
	*Server
	apiv1.API
	log *output
}

// start starts a server on the shipped files, with shorter intervals.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	log := newOutput()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Files == nil {
		cfg.Files = fast(t)
	}
	cfg.Log = log.logger()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{s, clientOf(t, s.URL()), log}
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// fast are the shipped files with intervals that tests have the time for. More
// files replace or join them.
func fast(t *testing.T, more ...map[string]string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(monitoring.Files, "rules/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, configFile) {
		text, err := fs.ReadFile(monitoring.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.NewReplacer("scrape_interval: 5s", "scrape_interval: 1s", "scrape_timeout: 4s", "scrape_timeout: 1s",
			"evaluation_interval: 15s", "evaluation_interval: 100ms").Replace(string(text))
		files[name] = &fstest.MapFile{Data: []byte(changed)}
	}
	for _, one := range more {
		for name, text := range one {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return files
}

// until waits for an expression to have a result that is right.
func (r *running) until(t *testing.T, query string, right func(model.Vector) bool) model.Vector {
	t.Helper()
	var last any
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		value, _, _, err := r.Query(t.Context(), query, time.Now())
		if vector, ok := value.(model.Vector); ok && err == nil && right(vector) {
			return vector
		}
		last = fmt.Sprint(value, err)
		pause()
	}
	t.Fatalf("%s: %v\n%s", query, last, r.log)
	return nil
}

// one is right for a single series with a value.
func one(value float64) func(model.Vector) bool {
	return func(v model.Vector) bool { return len(v) == 1 && float64(v[0].Value) == value }
}

func some(v model.Vector) bool { return len(v) > 0 }

// pageOf is a page of metrics that a test changes.
func pageOf(t *testing.T, text func() string) *httptest.Server {
	t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		_, _ = io.WriteString(w, text()+"# EOF\n")
	}))
	t.Cleanup(page.Close)
	return page
}

// The services and the server itself are scraped as the shipped configuration
// says, and Prometheus' own client finds what it asks a Prometheus for.
func TestItIsAPrometheus(t *testing.T) {
	t.Parallel()
	page := pageOf(t, func() string {
		return "# TYPE orders counter\norders_total{service=\"commande\"} 3 # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 1\n"
	})
	s := start(t, Config{})
	if err := s.Scrape([]Target{{Service: "commande", URL: page.URL}}); err != nil {
		t.Fatal(err)
	}
	v := s.until(t, `orders_total{job="services",service="commande"}`, one(3))
	if v[0].Metric["exported_service"] != "" {
		t.Errorf("the page's own label was renamed: %v", v[0].Metric)
	}
	s.until(t, `up{job="services",service="commande"}`, one(1))
	s.until(t, `up{job="prometheus"}`, one(1))
	s.until(t, `prometheus_build_info`, one(1))
	s.until(t, `count(prometheus_tsdb_head_series > 0)`, one(1))

	targets, err := s.Targets(t.Context())
	if err != nil || len(targets.Active) != 2 {
		t.Errorf("targets: %+v, %v", targets, err)
	}
	rules, err := s.Rules(t.Context(), nil)
	if err != nil || len(rules.Groups) == 0 {
		t.Errorf("rules: %+v, %v", rules, err)
	}
	exemplars, err := s.QueryExemplars(t.Context(), "orders_total", time.Now().Add(-time.Hour), time.Now())
	if err != nil || len(exemplars) != 1 || exemplars[0].Exemplars[0].Labels["trace_id"] == "" {
		t.Errorf("exemplars: %+v, %v", exemplars, err)
	}
	shown, err := s.Config(t.Context())
	if err != nil || !strings.Contains(shown.YAML, strings.TrimPrefix(page.URL, "http://")) || strings.Contains(shown.YAML, "file_sd") {
		t.Errorf("configuration: %s, %v", shown.YAML, err)
	}
	if build, err := s.Buildinfo(t.Context()); err != nil || !strings.HasPrefix(build.Version, "3.") {
		t.Errorf("build: %+v, %v", build, err)
	}
	for name, call := range map[string]func() error{
		"runtime": func() error { _, err := s.Runtimeinfo(t.Context()); return err },
		"tsdb":    func() error { _, err := s.TSDB(t.Context()); return err },
		"flags":   func() error { _, err := s.Flags(t.Context()); return err },
		"labels":  func() error { _, _, _, err := s.LabelNames(t.Context(), nil, time.Time{}, time.Now()); return err },
		"series": func() error {
			_, _, _, err := s.Series(t.Context(), []string{"up"}, time.Time{}, time.Now())
			return err
		},
		"meta": func() error { _, err := s.Metadata(t.Context(), "", ""); return err },
		"wal":  func() error { _, err := s.WalReplay(t.Context()); return err },
		"ams":  func() error { _, err := s.AlertManagers(t.Context()); return err },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What nobody may do from outside is refused, and what is no page is none.
func TestNobodyChangesItFromOutside(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	s.ShowPage("http://127.0.0.1:3005")
	for _, test := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"GET", "/", 200, "http://127.0.0.1:3005"},
		{"GET", "/-/ready", 200, "is Ready"},
		{"GET", "/-/healthy", 200, "is Healthy"},
		{"HEAD", "/-/ready", 200, ""},
		{"GET", "/metrics", 200, "prometheus_tsdb_head_series"},
		{"GET", "/api/v1/query?query=1", 200, `"success"`},
		{"GET", "/api/v1/query?query=(", 400, "bad_data"},
		{"GET", "/api/v1/notifications", 200, ""},
		{"GET", "/api/v1/notifications/live", 204, ""},
		{"POST", "/api/v1/admin/tsdb/delete_series?match[]=up", 500, "admin APIs disabled"},
		{"POST", "/api/v1/write", 404, ""},
		{"POST", "/api/v1/otlp/v1/metrics", 404, ""},
		{"POST", "/-/quit", 404, ""},
		{"POST", "/-/reload", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"GET", "/graph", 404, ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, s.URL()+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", "http://elsewhere.example")
		request.Close = true
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != test.status || !strings.Contains(string(text), test.text) {
			t.Errorf("%s %s: %s %.300s, want %d with %q", test.method, test.path, answer.Status, text, test.status, test.text)
		}
		if allowed := answer.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
			t.Errorf("%s %s may be read by %q", test.method, test.path, allowed)
		}
	}
}

// A start that fails says what is in the way, and leaves nothing running.
func TestWhatIsInTheWayIsNamed(t *testing.T) {
	t.Parallel()
	first := start(t, Config{})
	if _, err := Start(t.Context(), Config{Address: strings.TrimPrefix(first.URL(), "http://"), Dir: t.TempDir(), Files: fast(t)}); !errors.Is(err, httpapi.ErrAddress) ||
		!strings.HasPrefix(err.Error(), "prometheus: cannot listen on "+strings.TrimPrefix(first.URL(), "http://")) {
		t.Errorf("an address in use: %v", err)
	}
	if _, err := Start(t.Context(), Config{Address: "127.0.0.1:0", Dir: first.cfg.Dir, Files: fast(t)}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("a folder in use: %v", err)
	}
	if _, err := Start(t.Context(), Config{Address: "127.0.0.1:0", Dir: t.TempDir(), Files: fast(t), Alertmanagers: []string{"am:9093"}}); !errors.Is(err, ErrAlertmanager) {
		t.Errorf("an Alertmanager that is no URL: %v", err)
	}
	broken := fast(t, map[string]string{"rules/broken.yml": "groups: [{name: a, rules: [{record: b, expr: '('}]}]"})
	if _, err := Start(t.Context(), Config{Address: "127.0.0.1:0", Dir: t.TempDir(), Files: broken}); err == nil || !strings.Contains(err.Error(), "rules/broken.yml") {
		t.Errorf("a broken rule: %v", err)
	}
}

// Services that speak TLS are scraped by the certificate that they show, which
// may be for another name than the address.
func TestServicesWithACertificateAreScraped(t *testing.T) {
	t.Parallel()
	page := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok 1") }))
	page.StartTLS()
	t.Cleanup(page.Close)
	s := start(t, Config{CertFile: certificateFile(t, page.Certificate())})
	if err := s.Scrape([]Target{{Service: "suivi", URL: page.URL}}); err != nil {
		t.Fatal(err)
	}
	s.until(t, `up{service="suivi"}`, one(1))
}

// The targets are those of the last call.
func TestTargetsCanBeReplaced(t *testing.T) {
	t.Parallel()
	page := pageOf(t, func() string { return "" })
	s := start(t, Config{})
	for _, name := range []string{"commande", "suivi", "analyseur"} {
		if err := s.Scrape([]Target{{Service: name, URL: page.URL}}); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, `up{job="services"}`, func(v model.Vector) bool {
		return len(v) > 0 && slices.ContainsFunc(v, func(s *model.Sample) bool { return s.Metric["service"] == "analyseur" && s.Value == 1 })
	})
	targets, err := s.Targets(t.Context())
	if err != nil || len(targets.Active) != 2 {
		t.Errorf("targets: %+v, %v", targets.Active, err)
	}
	if err := s.Scrape([]Target{{Service: "commande", URL: "nonsense"}}); err == nil {
		t.Error("a target without an address was taken")
	}
}
