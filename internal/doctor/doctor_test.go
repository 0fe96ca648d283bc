package doctor_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/internal/doctor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part answers each path with a body; a path that is not there is a 404.
type part map[string]string

func (p part) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := p[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if status, rest, found := strings.Cut(body, "|"); found {
		var code int
		_, _ = fmt.Sscan(status, &code)
		w.WriteHeader(code)
		body = rest
	}
	_, _ = w.Write([]byte(body))
}

func serve(t *testing.T, p part) string {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL
}

const (
	oneTarget = `{"status":"success","data":{"activeTargets":[{"labels":{"job":"services","service":"commande"},"scrapeUrl":"http://a/metrics","health":"up"}]}}`
	downAlso  = `{"status":"success","data":{"activeTargets":[{"labels":{"job":"kafka"},"scrapeUrl":"http://k/metrics","health":"down","lastError":"connection refused"}]}}`
	oneRule   = `{"status":"success","data":{"groups":[{"name":"banking","file":"f","interval":15,"rules":[{"name":"up:sum","query":"sum(up)","health":"ok","type":"recording"}]}]}}`
	badRule   = `{"status":"success","data":{"groups":[{"name":"banking","file":"f","interval":15,"rules":[{"name":"up:sum","query":"sum(up)","health":"err","lastError":"many-to-many","type":"recording"}]}]}}`
	manager   = `{"status":"success","data":{"activeAlertmanagers":[{"url":"http://m:9093/api/v2/alerts"}]}}`
	nobody    = `{"status":"success","data":{"activeAlertmanagers":[]}}`
	oneSeries = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`
	noSeries  = `{"status":"success","data":{"resultType":"vector","result":[]}}`
	allBoards = `[{"title":"Kafka Banking System Overview"},{"title":"Microservices Health Dashboard"},{"title":"Kafka Broker & JVM"},{"title":"Host"}]`
)

func healthyService() part {
	return part{"/health/ready": `{"status":"ready"}`, "/metrics": "# HELP x\nprocess_uptime_seconds{service=\"commande\"} 5\n"}
}

func healthyPrometheus() part {
	return part{"/api/v1/targets": oneTarget, "/api/v1/rules": oneRule, "/api/v1/alertmanagers": manager, "/api/v1/query": oneSeries}
}

// with is a part with one answer changed; "" takes it away.
func with(p part, path, body string) part {
	if p[path] = body; body == "" {
		delete(p, path)
	}
	return p
}

// gone is an address where nothing listens.
func gone(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}

func run(t *testing.T, cfg doctor.Config) (well bool, findings []doctor.Finding) {
	t.Helper()
	cfg.Timeout = time.Minute // bounds a hang
	well = doctor.Run(t.Context(), cfg, func(f doctor.Finding) { findings = append(findings, f) })
	return well, findings
}

func boards(t *testing.T, content string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

const board = `{"title":"Overview","templating":{"list":[{"name":"service","includeAll":true}]},"panels":[
	{"title":"Alerts","targets":[{"expr":"ALERTS"}],"fieldConfig":{"defaults":{"noValue":"none fires"}}},{"title":"Orders","targets":[{"expr":"rate(orders_total{service=~\"$service\"}[$__rate_interval])"}]},
	{"type":"row","title":"More","panels":[{"title":"Lag","targets":[{"expr":"kafka_consumer_lag"}]}]}]}`

func TestAWellSystem(t *testing.T) {
	well, findings := run(t, doctor.Config{
		Services:     []doctor.Service{{Name: "commande", URL: serve(t, healthyService())}},
		Prometheus:   serve(t, healthyPrometheus()),
		Alertmanager: serve(t, part{"/-/ready": "OK"}),
		Grafana:      serve(t, part{"/api/health": "{}", "/api/search": allBoards}),
		JMX:          serve(t, part{"/": "jmx_scrape_error 0.0\nkafka_server_x 1\n"}),
		Node:         serve(t, part{"/": "node_cpu_seconds_total{cpu=\"0\"} 5\n"}),
		Dashboards:   boards(t, board),
	})
	if !well || len(findings) != 9 {
		t.Errorf("well: %v, %d findings", well, len(findings))
	}
	for _, f := range findings {
		if !f.OK || f.Detail == "" || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestEachFaultIsNamed(t *testing.T) {
	tests := []struct {
		name string
		cfg  func(t *testing.T) doctor.Config
		part string
		want string
	}{
		{"service away", func(t *testing.T) doctor.Config {
			return doctor.Config{Services: []doctor.Service{{Name: "suivi", URL: gone(t)}}}
		}, "suivi", "connection refused"},
		{"service not ready", func(t *testing.T) doctor.Config {
			return service(t, with(healthyService(), "/health/ready", `503|{"detail":"Not ready: kafka: no broker answers."}`))
		}, "commande", "no broker answers"},
		{"service without its metrics", func(t *testing.T) doctor.Config {
			return service(t, with(healthyService(), "/metrics", "process_uptime_seconds{service=\"paiement\"} 5\n"))
		}, "commande", `service="commande"`},
		{"exporter without Kafka", func(t *testing.T) doctor.Config {
			return doctor.Config{JMX: serve(t, part{"/": "jmx_scrape_error 1.0\nkafka_server_x 1\n"})}
		}, "JMX exporter", "Kafka does not answer"},
		{"exporter without figures", func(t *testing.T) doctor.Config {
			return doctor.Config{JMX: serve(t, part{"/": "jmx_scrape_error 0.0\n"})}
		}, "JMX exporter", "none of its figures"},
		{"exporter failing", func(t *testing.T) doctor.Config {
			return doctor.Config{Node: serve(t, part{"/": "500|oops"})}
		}, "node exporter", "status 500"},
		{"exporter away", func(t *testing.T) doctor.Config { return doctor.Config{Node: gone(t)} }, "node exporter", "connection refused"},
		{"Prometheus away", func(t *testing.T) doctor.Config { return doctor.Config{Prometheus: gone(t)} }, "Prometheus", "connection refused"},
		{"target down", func(t *testing.T) doctor.Config {
			return prometheus(t, with(healthyPrometheus(), "/api/v1/targets", downAlso))
		}, "Prometheus", "target kafka at http://k/metrics is down: connection refused"},
		{"target not asked yet", func(t *testing.T) doctor.Config {
			return prometheus(t, with(healthyPrometheus(), "/api/v1/targets", strings.Replace(oneTarget, `"up"`, `"unknown"`, 1)))
		}, "Prometheus", "has not asked 1 of 1 targets yet"},
		{"no targets", func(t *testing.T) doctor.Config {
			return prometheus(t, with(healthyPrometheus(), "/api/v1/targets", `{"status":"success","data":{"activeTargets":[]}}`))
		}, "Prometheus", "no targets"},
		{"rule failing", func(t *testing.T) doctor.Config {
			return prometheus(t, with(healthyPrometheus(), "/api/v1/rules", badRule))
		}, "Prometheus", "rule up:sum in banking fails: many-to-many"},
		{"no rules", func(t *testing.T) doctor.Config {
			return prometheus(t, with(healthyPrometheus(), "/api/v1/rules", `{"status":"success","data":{"groups":[]}}`))
		}, "Prometheus", "no rules"},
		{"no Alertmanager", func(t *testing.T) doctor.Config {
			cfg := prometheus(t, with(healthyPrometheus(), "/api/v1/alertmanagers", nobody))
			cfg.Alertmanager = serve(t, part{"/-/ready": "ok"})
			return cfg
		}, "Prometheus", "nowhere"},
		{"panels without data", func(t *testing.T) doctor.Config {
			cfg := prometheus(t, with(healthyPrometheus(), "/api/v1/query", noSeries))
			cfg.Dashboards = boards(t, board)
			return cfg
		}, "dashboards", "no data in Orders, Lag"},
		{"a query that fails", func(t *testing.T) doctor.Config {
			cfg := prometheus(t, with(healthyPrometheus(), "/api/v1/query", `400|{"status":"error","errorType":"bad_data","error":"parse error"}`))
			cfg.Dashboards = boards(t, board)
			return cfg
		}, "dashboards", "parse error"},
		{"no dashboards", func(t *testing.T) doctor.Config {
			cfg := prometheus(t, healthyPrometheus())
			cfg.Dashboards = t.TempDir()
			return cfg
		}, "dashboards", "are not in"},
		{"a broken dashboard", func(t *testing.T) doctor.Config {
			cfg := prometheus(t, healthyPrometheus())
			cfg.Dashboards = boards(t, "{")
			return cfg
		}, "dashboards", "is no dashboard"},
		{"Alertmanager starting", func(t *testing.T) doctor.Config {
			return doctor.Config{Alertmanager: serve(t, part{"/-/ready": "503|"})}
		}, "Alertmanager", "not ready"},
		{"Alertmanager away", func(t *testing.T) doctor.Config { return doctor.Config{Alertmanager: gone(t)} }, "Alertmanager", "connection refused"},
		{"Grafana away", func(t *testing.T) doctor.Config { return doctor.Config{Grafana: gone(t)} }, "Grafana", "connection refused"},
		{"Grafana's password", func(t *testing.T) doctor.Config {
			return doctor.Config{Grafana: serve(t, part{"/api/health": "{}", "/api/search": "401|{}"})}
		}, "Grafana", "refuses to list its dashboards"},
		{"a dashboard missing", func(t *testing.T) doctor.Config {
			return doctor.Config{Grafana: serve(t, part{"/api/health": "{}", "/api/search": `[{"title":"Host"}]`})}
		}, "Grafana", "lacks Kafka Banking System Overview, Microservices Health Dashboard, Kafka Broker & JVM"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			well, findings := run(t, test.cfg(t))
			var wrong []doctor.Finding
			for _, f := range findings {
				if !f.OK {
					wrong = append(wrong, f)
				}
			}
			if well || len(wrong) != 1 {
				t.Fatalf("well: %v, findings %+v", well, findings)
			}
			if f := wrong[0]; f.Part != test.part || !strings.Contains(f.Detail, test.want) || f.Remedy == "" {
				t.Errorf("%+v, want %q of %s", f, test.want, test.part)
			}
		})
	}
}

func service(t *testing.T, p part) doctor.Config {
	t.Helper()
	return doctor.Config{Services: []doctor.Service{{Name: "commande", URL: serve(t, p)}}}
}

func prometheus(t *testing.T, p part) doctor.Config {
	t.Helper()
	return doctor.Config{Prometheus: serve(t, p)}
}

func TestVariablesAreReplaced(t *testing.T) {
	const board = `{"title":"b","templating":{"list":[
		{"name":"service","includeAll":true},{"name":"topic","allValue":".+"},{"name":"probes","current":{"value":"/health"}}]},
		"panels":[{"title":"p","targets":[{"expr":"rate(x{service=~\"$service\",topic=~\"${topic:regex}\",route!=\"$probes\",l=\"$1\"}[$__rate_interval])"}]}]}`
	var query string
	prom := healthyPrometheus()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/query" {
			query = r.FormValue("query")
		}
		prom.ServeHTTP(w, r)
	}))
	defer server.Close()
	run(t, doctor.Config{Prometheus: server.URL, Dashboards: boards(t, board)})
	if want := `rate(x{service=~".*",topic=~".+",route!="/health",l="$1"}[1m])`; query != want {
		t.Errorf("queried %s, want %s", query, want)
	}
}

func TestGrafanaIsUsedWithThePassword(t *testing.T) {
	var user, password string
	other := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		_, _ = w.Write([]byte(allBoards))
	}))
	defer server.Close()
	node := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _, other = r.BasicAuth() }))
	defer node.Close()
	run(t, doctor.Config{Grafana: server.URL, GrafanaUser: "admin", GrafanaPass: "secret", Node: node.URL})
	if user != "admin" || password != "secret" || other {
		t.Errorf("Grafana was used as %q with %q; another part with a password: %v", user, password, other)
	}
}

func TestAnInterruptedLookIsNotWell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if doctor.Run(ctx, doctor.Config{}, func(doctor.Finding) {}) {
		t.Error("nothing was looked at, and all is well")
	}
}

// Each setting that endangers the promise is a finding, with the command that
// changes it.
func TestTopicsAreLookedAt(t *testing.T) {
	for name, tt := range map[string]struct {
		topics func(context.Context) ([]doctor.Concern, error)
		want   string
	}{
		"well": {func(context.Context) ([]doctor.Concern, error) { return nil, nil }, "[{Kafka's topics true keep records"},
		"not": {func(context.Context) ([]doctor.Concern, error) {
			return []doctor.Concern{{"t", "is small", "vigie topics"}}, nil
		}, "[{Kafka's topics false t: is small Run `vigie topics`.}]"},
		"away": {func(context.Context) ([]doctor.Concern, error) { return nil, context.DeadlineExceeded }, "[{Kafka's topics false cannot be looked at"},
	} {
		var found []doctor.Finding
		well := doctor.Run(t.Context(), doctor.Config{Topics: tt.topics, Timeout: time.Minute}, func(f doctor.Finding) { found = append(found, f) })
		if got := fmt.Sprint(found); !strings.HasPrefix(got, tt.want) || well != (name == "well") {
			t.Errorf("%s: %v, %s", name, well, got)
		}
	}
}
