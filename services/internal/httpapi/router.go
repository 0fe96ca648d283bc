// Package httpapi is what the services' HTTP faces have in common: routing
// with bounded route labels, health, problem+json for every error, and a
// server whose every phase has a time-out.
package httpapi

import (
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
)

// Config describes a service to its router.
type Config struct {
	Service string
	Version string
	Metrics http.Handler
	Ready   *Readiness
	Log     *slog.Logger
}

// Router serves a service's own routes beside those that all services have:
// GET /, /health, /health/ready and /metrics.
type Router struct {
	cfg       Config
	mux       *http.ServeMux
	endpoints []string
	origin    *http.CrossOriginProtection
}

// NewRouter makes a router with the common routes.
func NewRouter(cfg Config) *Router {
	rt := &Router{cfg: cfg, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection()}
	rt.Handle("GET /{$}", rt.root)
	rt.Handle("GET /health", rt.health)
	rt.Handle("GET /health/ready", rt.ready)
	rt.Handle("GET /metrics", cfg.Metrics.ServeHTTP)
	return rt
}

// Handle adds a route; the pattern is one of http.ServeMux with a method.
func (rt *Router) Handle(pattern string, handler http.HandlerFunc) {
	rt.mux.HandleFunc(pattern, handler)
	rt.endpoints = append(rt.endpoints, strings.TrimSuffix(pattern, "{$}"))
}

// ServeHTTP answers every request: what matches no route, and what a handler
// could not finish, gets a problem document too.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer rt.recover(w, r)
	if rt.origin.Check(r) != nil {
		WriteProblem(w, Problem{Status: http.StatusForbidden, Detail: "Changes requested by pages of other origins are refused."})
		return
	}
	if r.URL.Path != path.Clean(r.URL.Path) { // the multiplexer would redirect
		rt.unmatched(w, r, http.NotFoundHandler())
		return
	}
	if handler, pattern := rt.mux.Handler(r); pattern == "" {
		rt.unmatched(w, r, handler)
		return
	}
	rt.mux.ServeHTTP(w, r) // sets r.Pattern and the path values
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

func (rt *Router) recover(w http.ResponseWriter, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler {
		panic(fault)
	}
	rt.cfg.Log.ErrorContext(r.Context(), "request handler panicked",
		"route", Route(r), "panic", fault, "stack", string(debug.Stack()))
	WriteProblem(w, Problem{Status: http.StatusInternalServerError, Detail: "The service failed to answer; the fault has been logged."})
}

func (rt *Router) root(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, map[string]any{
		"service": rt.cfg.Service, "version": rt.cfg.Version, "endpoints": rt.endpoints,
	})
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
