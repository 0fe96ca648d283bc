package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/doctor"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

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
	allBoards = `[{"title":"Kafka Banking System Overview"},{"title":"Microservices Health Dashboard"},{"title":"Kafka Broker & JVM"},{"title":"Host"},
		{"title":"Kafka Consumer Groups"},{"title":"Service Level Objectives"}]`
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
	cfg.Words = words
	well = doctor.Run(t.Context(), cfg, func(f doctor.Finding) { findings = append(findings, f) })
	return well, findings
}

// words stands for the caller's: it knows one error.
func words(err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens"
	}
	return err.Error()
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
	{"title":"Alerts","targets":[{"expr":"ALERTS"}],"fieldConfig":{"defaults":{"noValue":"none fires"}}},{"title":"Orders","targets":[{"expr":"rate(orders_total{service=~\"$service\"}[$__rate_interval])"}],"fieldConfig":{"defaults":{"noValue":"unknown"}}},
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
	if !well || len(findings) != 10 {
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
		}, "suivi", "nothing listens"},
		{"service not ready", func(t *testing.T) doctor.Config {
			return service(t, with(healthyService(), "/health/ready", `503|{"detail":"Not ready: kafka: no broker answers."}`))
		}, "commande", "no broker answers"},
		{"service without its metrics", func(t *testing.T) doctor.Config {
			return service(t, with(healthyService(), "/metrics", "process_uptime_seconds{service=\"paiement\"} 5\n"))
		}, "commande", `service="commande"`},
		{"a fault in force", func(t *testing.T) doctor.Config {
			return service(t, with(healthyService(), "/metrics", "process_uptime_seconds{service=\"commande\"} 5\n"+
				"fault_in_force{fault=\"poison\",service=\"commande\"} 0\nfault_in_force{fault=\"kafka-away\",service=\"commande\"} 1\n"))
		}, "faults", "kafka-away is in force"},
		{"a probe that fails", func(t *testing.T) doctor.Config {
			return service(t, with(healthyService(), "/metrics", "process_uptime_seconds{service=\"commande\"} 5\n"+
				"probe_success{partition=\"0\",service=\"sentinelle\"} 0\nprobe_success{partition=\"1\",service=\"sentinelle\"} 1\nprobe_success{partition=\"2\",service=\"sentinelle\"} 0\n"))
		}, "probe", "orders.created/0, /2 did not come through"},
		{"exporter without Kafka", func(t *testing.T) doctor.Config {
			return doctor.Config{JMX: serve(t, part{"/": "jmx_scrape_error 1.0\nkafka_server_x 1\n"})}
		}, "JMX exporter", "Kafka does not answer"},
		{"exporter without figures", func(t *testing.T) doctor.Config {
			return doctor.Config{JMX: serve(t, part{"/": "jmx_scrape_error 0.0\n"})}
		}, "JMX exporter", "none of its figures"},
		{"exporter failing", func(t *testing.T) doctor.Config {
			return doctor.Config{Node: serve(t, part{"/": "500|oops"})}
		}, "node exporter", "status 500"},
		{"exporter away", func(t *testing.T) doctor.Config { return doctor.Config{Node: gone(t)} }, "node exporter", "nothing listens"},
		{"Prometheus away", func(t *testing.T) doctor.Config { return doctor.Config{Prometheus: gone(t)} }, "Prometheus", "nothing listens"},
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
		{"Alertmanager away", func(t *testing.T) doctor.Config { return doctor.Config{Alertmanager: gone(t)} }, "Alertmanager", "nothing listens"},
		{"Grafana away", func(t *testing.T) doctor.Config { return doctor.Config{Grafana: gone(t)} }, "Grafana", "nothing listens"},
		{"Grafana's password", func(t *testing.T) doctor.Config {
			return doctor.Config{Grafana: serve(t, part{"/api/health": "{}", "/api/search": "401|{}"})}
		}, "Grafana", "refuses to list its dashboards"},
		{"a dashboard missing", func(t *testing.T) doctor.Config {
			return doctor.Config{Grafana: serve(t, part{"/api/health": "{}", "/api/search": `[{"title":"Host"}]`})}
		}, "Grafana", "lacks Kafka Banking System Overview, Microservices Health Dashboard, Service Level Objectives, Kafka Consumer Groups, Kafka Broker & JVM"},
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

// A look at Kafka says what is wrong with the topics, who does not read them, what
// waits, and which clock is wrong.
func TestKafkaIsLookedAt(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		seen doctor.Kafka
		err  error
		want []string // what is wrong
	}{
		"well": {doctor.Kafka{Groups: []doctor.Group{{Name: "suivi-svc", Service: "suivi", Members: 1, Behind: 3}}}, nil, nil},
		"topics": {doctor.Kafka{Concerns: []doctor.Concern{
			{"t", "is small", "vigie topics"}, {"u", "is short", "vigie topics"}, {"v", "has one replica", "kafka-topics"},
		}}, nil, []string{"Kafka's topics t: is small; u: is short: Run `vigie topics`.", "Kafka's topics v: has one replica: Run `kafka-topics`."}},
		"a group without members": {doctor.Kafka{Groups: []doctor.Group{{Name: "suivi-svc", Service: "suivi", Behind: 7}}}, nil,
			[]string{"suivi-svc has no members: nobody reads the 7 records that wait for suivi"}},
		"a group that is late": {doctor.Kafka{Groups: []doctor.Group{{Name: "suivi-svc", Service: "suivi", Members: 1, Behind: 7, Late: 2}}}, nil,
			[]string{"suivi-svc is 7 records behind; 2 have waited for more than a minute"}},
		"letters": {doctor.Kafka{Letters: doctor.Letters{Waiting: 2, Reasons: "2 authoriser", Oldest: now.Add(-time.Hour)}}, nil,
			[]string{"dead letters wait: 2 (2 authoriser), the oldest for 1h0m0s"}},
		"letters that cannot be read": {doctor.Kafka{Unread: errors.New("too many")}, nil, []string{"dead letters cannot be read: too many"}},
		"a clock":                     {doctor.Kafka{Ahead: []string{"orders.created/1/42"}}, nil, []string{"clocks records bear times that are yet to come, from orders.created/1/42 on"}},
		"away":                        {doctor.Kafka{}, &doctor.AwayError{Where: "k:9092", Err: syscall.ECONNREFUSED}, []string{"Kafka does not answer at k:9092: nothing listens"}},
		"unknown":                     {doctor.Kafka{}, errors.New("wrong password"), []string{"Kafka cannot be looked at: wrong password"}},
	} {
		t.Run(name, func(t *testing.T) {
			well, findings := run(t, doctor.Config{
				Now:   func() time.Time { return now },
				Kafka: func(context.Context) (doctor.Kafka, error) { return tt.seen, tt.err },
			})
			expect(t, findings, tt.want)
			if well != (tt.want == nil) {
				t.Errorf("well: %v, %+v", well, findings)
			}
		})
	}
}

// expect compares what is wrong with what should be: part, detail and remedy, as
// far as they are given.
func expect(t *testing.T, findings []doctor.Finding, want []string) {
	t.Helper()
	var wrong []string
	for _, f := range findings {
		if !f.OK {
			wrong = append(wrong, f.Part+" "+f.Detail+": "+f.Remedy)
		}
	}
	if len(wrong) != len(want) {
		t.Fatalf("wrong are %d findings, want %d:\n%s", len(wrong), len(want), strings.Join(wrong, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(wrong[i], want[i]) {
			t.Errorf("finding %d is %q, want %q", i, wrong[i], want[i])
		}
	}
}
