package prometheus

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/grafana/regexp"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// What answering may cost.
const (
	maxConnections = 256
	maxQueries     = 8 // at work at once; those beyond wait
	maxScrapes     = 4
	maxBody        = 1 << 20
	writeTimeout   = 2 * time.Minute // of a query and its answer
)

// serve answers requests.
func (s *Server) serve(listeners httpapi.Listeners) {
	server := httpapi.NewServer(s.handler(), s.cfg.Log, httpapi.ServerConfig{WriteTimeout: writeTimeout})
	limited := listeners.Limit(maxConnections, httpapi.Failures(s.cfg.Log, func() {}))
	s.stack.Go("http server", func(ctx context.Context) error { return server.Serve(ctx, limited...) })
	s.stack.OnStop("http requests", server.Shutdown)
}

// handler answers what Prometheus answers, but for its pages for people, and
// without its ways to change or stop it.
func (s *Server) handler() http.Handler {
	own := client.Gatherers{s.engine.registry, s.engine.store.registry}
	count := newRequestMetrics(s.engine.registry)
	api := route.New().WithInstrumentation(func(name string, next http.HandlerFunc) http.HandlerFunc { return count("/api/v1"+name, next) })
	s.api(own).Register(api)

	mux := http.NewServeMux()
	mux.Handle("/api/v1/", bounded(http.StripPrefix("/api/v1", api)))
	mux.Handle("GET /metrics", count("/metrics", promhttp.HandlerFor(own, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
	})))
	mux.Handle("GET /-/healthy", count("/-/healthy", says("Prometheus Server is Healthy.\n")))
	mux.Handle("GET /-/ready", count("/-/ready", says("Prometheus Server is Ready.\n"))) // it takes no request before it is
	mux.Handle("GET /{$}", count("/", http.HandlerFunc(s.about)))
	return mux
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

// bounded has few requests at work at once, none with a long body.
func bounded(next http.Handler) http.Handler {
	slots := make(chan struct{}, maxQueries)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-r.Context().Done():
			return // and nobody waits for the answer
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// newRequestMetrics counts requests by their handler, as Prometheus does.
func newRequestMetrics(registry client.Registerer) func(name string, next http.Handler) http.HandlerFunc {
	requests := client.NewCounterVec(client.CounterOpts{
		Name: "prometheus_http_requests_total", Help: "Counter of HTTP requests.",
	}, []string{"handler", "code"})
	durations := client.NewHistogramVec(client.HistogramOpts{
		Name: "prometheus_http_request_duration_seconds", Help: "Histogram of latencies for HTTP requests.",
		Buckets: []float64{.1, .2, .4, 1, 3, 8, 20, 60, 120},
	}, []string{"handler"})
	registry.MustRegister(requests, durations)
	return func(name string, next http.Handler) http.HandlerFunc {
		of := client.Labels{"handler": name}
		return promhttp.InstrumentHandlerCounter(requests.MustCurryWith(of), promhttp.InstrumentHandlerDuration(durations.MustCurryWith(of), next))
	}
}

// api is Prometheus' HTTP API. No web page of another origin may read it, and
// nobody writes, deletes or stops by it.
func (s *Server) api(own client.Gatherers) *v1.API {
	e, always := s.engine, func(next http.HandlerFunc) http.HandlerFunc { return next }
	return v1.NewAPI(
		e.queries, e.store, nil, e.store,
		func(context.Context) v1.ScrapePoolsRetriever { return e.scraper },
		func(context.Context) v1.TargetRetriever { return e.scraper },
		func(context.Context) v1.AlertmanagerRetriever { return e.alertmanagers },
		func() config.Config { return *s.config.Load() },
		map[string]string{"storage.tsdb.path": s.cfg.Dir, "web.listen-address": s.address},
		v1.GlobalURLOptions{ListenAddress: s.address, Host: s.address, Scheme: "http"},
		always, e.store, s.cfg.Dir,
		false, false, 0, // neither administration nor search
		e.log,
		func(context.Context) v1.RulesRetriever { return e.ruler },
		querySamples, maxQueries, maxBody, // of remote reading
		false, regexp.MustCompile(`^$`),
		s.runtime(time.Now()), version(),
		func() []notifications.Notification { return nil },
		func() (<-chan notifications.Notification, func(), bool) { return nil, nil, false },
		own, e.registry, nil,
		false, nil, false, false, false, // nothing is written from outside
		lookback, false, false, nil, features.NewRegistry(),
		v1.OpenAPIOptions{ExternalURL: s.URL(), Version: version().Version},
		e.syntax, false, queryTimeout,
	)
}

// runtime says how the server runs.
func (s *Server) runtime(start time.Time) func() (v1.RuntimeInfo, error) {
	return func() (v1.RuntimeInfo, error) {
		host, err := os.Hostname()
		if err != nil {
			return v1.RuntimeInfo{}, fmt.Errorf("find own name: %w", err)
		}
		return v1.RuntimeInfo{
			StartTime: start.UTC(), ServerTime: time.Now().UTC(), Hostname: host, ReloadConfigSuccess: true, LastConfigTime: start.UTC(),
			GoroutineCount: runtime.NumGoroutine(), GOMAXPROCS: runtime.GOMAXPROCS(0), GOMEMLIMIT: debug.SetMemoryLimit(-1),
			GOGC: os.Getenv("GOGC"), GODEBUG: os.Getenv("GODEBUG"), StorageRetention: fmt.Sprintf("%s or %d bytes", retention, maxBytes),
		}, nil
	}
}

// version is that of the engine. Its module's v0.316.0 is Prometheus 3.16.0.
func version() *v1.PrometheusVersion {
	v := &v1.PrometheusVersion{Version: "3.0.0", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, module := range info.Deps {
		if module.Path != "github.com/prometheus/prometheus" {
			continue
		}
		var major, minor, patch int
		if n, _ := fmt.Sscanf(strings.TrimPrefix(module.Version, "v0."), "%1d%d.%d", &major, &minor, &patch); n == 3 {
			v.Version = fmt.Sprintf("%d.%d.%d", major, minor, patch)
		}
		v.Revision = module.Version
	}
	return v
}

// about says to people what answers here.
func (s *Server) about(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	page := ""
	if shown := s.page.Load(); shown != nil {
		page = *shown
	}
	_ = aboutPage().Execute(w, map[string]any{"Version": version().Version, "Page": page, "URL": s.URL(), "LeftOut": s.leftOut})
}

func aboutPage() *template.Template {
	return template.Must(template.New("about").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Prometheus in Vigie</title>
<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}</style>
<h1>Prometheus in Vigie</h1>
<p>Prometheus {{.Version}} answers here, for programs: its API without its pages for people.</p>
{{if .Page}}<p>The system is shown at <a href="{{.Page}}">{{.Page}}</a>.</p>{{end}}
<ul>
<li><a href="/api/v1/query?query=up">/api/v1/query?query=up</a>: what is scraped, and whether it answers</li>
<li><a href="/api/v1/alerts">/api/v1/alerts</a>: alerts that fire or are about to</li>
<li><a href="/api/v1/rules">/api/v1/rules</a>, <a href="/api/v1/targets">/api/v1/targets</a>, <a href="/metrics">/metrics</a></li>
</ul>
<p>Grafana takes <code>{{.URL}}</code> as a Prometheus data source.</p>
{{if .LeftOut}}<h2>Rules that are left out</h2>
<p>They are about parts that do not run here, and say nothing about them.</p>
<ul>{{range .LeftOut}}<li>{{.}}</li>{{end}}</ul>{{end}}
</html>
`))
}
