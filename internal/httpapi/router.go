// Package httpapi is what the services' HTTP faces have in common: routing
// with bounded route labels, health, problem+json for every error, bounds on
// what clients can make a service do or keep, and a server whose every phase
// has a time-out.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"
)

// DefaultMaxConcurrent is how many requests for a service's own routes are at
// work at once.
const DefaultMaxConcurrent = 256

// Config describes a service to its router.
type Config struct {
	Service string
	Version string
	Metrics http.Handler
	Ready   *Readiness
	Log     *slog.Logger
	// OpenAPI describes the service's routes: what GET /openapi.yaml answers.
	// Without one there is no such route.
	OpenAPI []byte
	// Tokens let clients in to the service's own routes; nil lets in everyone.
	Tokens *Tokens
	// Panicked is told of each handler that panicked; nil tells nobody.
	Panicked func(context.Context)
	// MaxConcurrent bounds the requests for the service's own routes that are
	// at work at once; 0 is [DefaultMaxConcurrent].
	MaxConcurrent int
	// MaxBody bounds a request's body, in bytes (default 64 KiB), and
	// BodyTimeout the time that it may take to arrive (default 10 s).
	MaxBody     int64
	BodyTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.MaxConcurrent <= 0 {
		c.MaxConcurrent = DefaultMaxConcurrent
	}
	if c.MaxBody <= 0 {
		c.MaxBody = defaultMaxBody
	}
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = defaultBodyTimeout
	}
	return c
}

// Router serves a service's own routes beside those that all services have:
// GET /, /health, /health/ready, /metrics and /openapi.yaml. The own routes are
// behind the tokens and in one lane, which health and metrics are kept out of:
// they answer when the service has all it can do.
type Router struct {
	cfg       Config
	mux       *http.ServeMux
	endpoints []string
	origin    *http.CrossOriginProtection
	own       *lane

	protection http.Header // shared by all answers
}

// NewRouter makes a router with the common routes.
func NewRouter(cfg Config) *Router {
	cfg = cfg.withDefaults()
	rt := &Router{cfg: cfg, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(), own: newLane(cfg.MaxConcurrent, sendingOwn),
		protection: protections(),
	}
	rt.add("GET /{$}", rt.root)
	rt.add("GET /health", rt.health)
	rt.add("GET /health/ready", rt.ready)
	rt.add("GET /metrics", newLane(maxScrapes, sendingMetrics).bounded(cfg.Metrics.ServeHTTP))
	if len(cfg.OpenAPI) > 0 {
		rt.add("GET /openapi.yaml", rt.own.bounded(rt.openAPI))
	}
	return rt
}

// Handle adds a route of the service's own; the pattern is one of
// http.ServeMux with a method. The handler finds the body in memory, and starts
// only while fewer than Config.MaxConcurrent are at work; what it writes is sent
// once it has returned.
func (rt *Router) Handle(pattern string, handler http.HandlerFunc) {
	handler = rt.own.bounded(handler)
	if method, _, _ := strings.Cut(pattern, " "); takesBody(method) {
		inLane := handler
		handler = func(w http.ResponseWriter, r *http.Request) {
			if rt.own.full() { // the answer need not wait for the body
				writeBusy(w)
				return
			}
			if readBody(w, r, rt.cfg.MaxBody, rt.cfg.BodyTimeout) {
				inLane(w, r)
			}
		}
	}
	if rt.cfg.Tokens != nil {
		handler = rt.cfg.Tokens.guarded(rt.cfg.Service, handler)
	}
	rt.add(pattern, handler)
}

func (rt *Router) add(pattern string, handler http.HandlerFunc) {
	rt.mux.HandleFunc(pattern, handler)
	rt.endpoints = append(rt.endpoints, strings.TrimSuffix(pattern, "{$}"))
}

// Endpoints are the routes, each a method and a pattern, in the order in which
// they were added.
func (rt *Router) Endpoints() []string { return rt.endpoints }

// ServeHTTP answers every request: what matches no route, and what a handler
// could not finish, gets a problem document too.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header(), r, rt.protection)
	a := &answer{w: w}
	rt.answer(a, r)
	a.send()
}

func (rt *Router) answer(a *answer, r *http.Request) {
	defer rt.recover(a, r)
	if rt.origin.Check(r) != nil {
		WriteProblem(a, Problem{Status: http.StatusForbidden, Detail: "Changes requested by pages of other origins are refused."})
		return
	}
	if r.URL.Path != path.Clean(r.URL.Path) { // the multiplexer would redirect
		rt.unmatched(a, r, http.NotFoundHandler())
		return
	}
	if handler, pattern := rt.mux.Handler(r); pattern == "" {
		rt.unmatched(a, r, handler)
		return
	}
	rt.mux.ServeHTTP(a, r) // sets r.Pattern and the path values
}

// unmatched turns the multiplexer's plain 404 or 405 into a problem, keeping
// its Allow header.
func (rt *Router) unmatched(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	answer := &statusOnly{header: w.Header()}
	handler.ServeHTTP(answer, r)
	detail := "No such resource; GET / lists what there is."
	if answer.status == http.StatusMethodNotAllowed {
		detail = "This resource accepts " + w.Header().Get("Allow") + "."
	}
	WriteProblem(w, Problem{Status: answer.status, Detail: detail})
}

func (rt *Router) root(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, map[string]any{
		"service": rt.cfg.Service, "version": rt.cfg.Version, "endpoints": rt.endpoints,
	})
}

// openAPI is the one answer that may be kept: it changes with the program.
func (rt *Router) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(rt.cfg.OpenAPI)
}

func (rt *Router) health(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "service": rt.cfg.Service})
}

func (rt *Router) ready(w http.ResponseWriter, r *http.Request) {
	if err := rt.cfg.Ready.Check(r.Context()); err != nil {
		WriteProblem(w, Problem{Status: http.StatusServiceUnavailable, Detail: "Not ready: " + err.Error() + ".", RetryAfter: retrySoon})
		return
	}
	WriteJSON(w, http.StatusOK, map[string]string{"status": "ready", "service": rt.cfg.Service})
}

// Route returns the registered pattern that matched, without its method: the
// bounded label for metrics. It is empty where nothing matched.
func Route(r *http.Request) string {
	_, route, found := strings.Cut(r.Pattern, " ")
	if !found {
		route = r.Pattern
	}
	return strings.TrimSuffix(route, "{$}")
}

// statusOnly takes an answer's status and headers and drops its body.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
