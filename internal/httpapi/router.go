// Package httpapi is what the services' HTTP interfaces have in common. It
// exists so that every service protects itself from its clients, reports errors
// and describes itself in the same way.
//
//   - router.go brings a request to its handler: security headers, routes with
//     bounded labels, panics, and the routes that all services have, with their
//     readiness.
//   - problem.go has the table of problems, and writes answers.
//   - request.go names requests, and refuses them for their query's form.
//   - bounds.go bounds what clients can make a service do or keep: requests at
//     work, bodies, answers that wait to be read.
//   - listener.go listens: it bounds connections, and closes them so that a
//     client which still sends gets its answer.
//   - server.go serves with a time-out for every phase, over TLS where there is
//     a certificate, and sends events for as long as somebody listens.
//   - page.go answers browsers at GET /.
//   - tokens.go refuses clients that bring no valid token.
//   - openapi.go puts a service's OpenAPI document together; common.yaml is
//     what all documents share.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// DefaultMaxConcurrent is how many requests for a service's own routes are at
// work at once.
const DefaultMaxConcurrent = 256

const (
	defaultMaxBody     = 64 << 10
	defaultBodyTimeout = 10 * time.Second
	// maxRequestID is the length, in bytes, up to which a client's name for
	// its request is kept.
	maxRequestID = 64
	// checkTimeout bounds a question for readiness.
	checkTimeout = 2 * time.Second
)

// Config describes a service to its router.
type Config struct {
	Service string
	Version string
	Metrics http.Handler
	Ready   *Readiness
	Log     *slog.Logger
	// OpenAPI describes the service's own routes: its part of what GET
	// /openapi.yaml answers, as [OpenAPI] takes it. Without it there is no such route.
	OpenAPI []byte
	// Tokens are required on the service's own routes; with nil none are.
	Tokens *Tokens
	// Browsed: browsers come here, which send a token as the password of HTTP Basic.
	Browsed bool
	// Panicked is called for each handler that panicked; it may be nil.
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
// GET /, /favicon.ico, /health, /health/ready, /metrics and /openapi.yaml. The own routes are
// behind the tokens and in one lane, which health and metrics are kept out of:
// they answer when the service has all it can do.
type Router struct {
	cfg       Config
	mux       *http.ServeMux
	endpoints struct {
		sync.Mutex // a service that starts answers while its routes are added
		all        []string
		page       http.HandlerFunc // what browsers get at GET /; nil for links to all
	}
	links links
	// document is put together when it is first asked for: no start waits for it.
	document func() ([]byte, error)
	origin   *http.CrossOriginProtection
	own      *lane

	protection http.Header // shared by all answers
	answers    sync.Pool   // of *responseBuffer
}

// NewRouter makes a router with the common routes.
func NewRouter(cfg Config) *Router {
	cfg = cfg.withDefaults()
	rt := &Router{cfg: cfg, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(), own: newLane(cfg.MaxConcurrent, sendingOwn),
		links: newLinks(), protection: protections(),
		document: sync.OnceValues(func() ([]byte, error) { return OpenAPI(cfg.Service, cfg.OpenAPI) }),
	}
	rt.add("GET /{$}", rt.root)
	rt.add("GET /favicon.ico", knownParameters(nil, rt.favicon))
	rt.add("GET /health", knownParameters(nil, rt.health))
	rt.add("GET /health/ready", knownParameters(nil, rt.ready))
	metrics := newLane(maxScrapes, sendingMetrics).bounded(cfg.Metrics.ServeHTTP)
	rt.add("GET /metrics", knownParameters([]string{"name[]"}, metrics)) // promhttp's filter
	if len(cfg.OpenAPI) > 0 {
		rt.add("GET /openapi.yaml", knownParameters(nil, rt.own.bounded(rt.openAPI)))
	}
	return rt
}

// Handle adds a route of the service's own; the pattern is one of
// http.ServeMux with a method. The handler finds the body in memory, and starts
// only while fewer than Config.MaxConcurrent are at work; what it writes is sent
// once it has returned. It is asked with none but the query parameters named,
// each at most once.
func (rt *Router) Handle(pattern string, handler http.HandlerFunc, parameters ...string) {
	rt.add(pattern, rt.ownRoute(pattern, handler, parameters))
}

// RouteProbe stands in the label route for a request that is a probe.
const RouteProbe = "probe"

// HandleProbed is Handle for a route that probes take as well: they are counted under
// [RouteProbe], so that the route's own series have what clients asked alone.
func (rt *Router) HandleProbed(pattern string, isProbe func(*http.Request) bool, handler http.HandlerFunc, parameters ...string) {
	handler = rt.ownRoute(pattern, handler, parameters)
	rt.add(pattern, func(w http.ResponseWriter, r *http.Request) {
		if isProbe(r) {
			r.Pattern = RouteProbe // of which the label is made
		}
		handler(w, r)
	})
}

// ownRoute is a handler of the service's own, bounded and guarded.
func (rt *Router) ownRoute(pattern string, handler http.HandlerFunc, parameters []string) http.HandlerFunc {
	switch method, _, _ := strings.Cut(pattern, " "); method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		handler = rt.own.boundedWithBody(handler, rt.cfg.MaxBody, rt.cfg.BodyTimeout)
	default:
		handler = rt.own.bounded(handler)
	}
	return rt.guarded(knownParameters(parameters, handler))
}

// guarded is a handler behind the tokens, where there are any.
func (rt *Router) guarded(handler http.HandlerFunc) http.HandlerFunc {
	if rt.cfg.Tokens == nil {
		return handler
	}
	return rt.cfg.Tokens.guarded(rt.cfg.Service, rt.cfg.Browsed, handler)
}

func (rt *Router) add(pattern string, handler http.HandlerFunc) {
	rt.mux.HandleFunc(pattern, handler)
	rt.endpoints.Lock()
	defer rt.endpoints.Unlock()
	rt.endpoints.all = append(rt.endpoints.all, strings.TrimSuffix(pattern, "{$}"))
}

// Knows says whether the request matches a route that has been added.
func (rt *Router) Knows(r *http.Request) bool {
	_, pattern := rt.mux.Handler(r)
	return pattern != ""
}

// ServeHTTP answers every request: what matches no route, and what a handler
// could not finish, gets a problem document too.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header(), r, rt.protection)
	a, ok := rt.answers.Get().(*responseBuffer)
	if !ok {
		a = &responseBuffer{}
	}
	a.w = w
	rt.dispatch(a, r)
	a.send()
	// Not where a handler has panicked for good, or what it uses would be another's.
	if a.reset() {
		rt.answers.Put(a)
	}
}

// protect sets the headers that keep browsers from doing more with an answer
// than showing it: guess its type, run or embed its content, keep it, or send
// its address to others. Answers are data, so everything can be forbidden.
//
// See the Fetch standard (nosniff), Content Security Policy Level 3, RFC 9111
// (no-store) and RFC 6797 (Strict-Transport-Security, over TLS alone).
func protect(h http.Header, r *http.Request, protection http.Header) {
	maps.Copy(h, protection) // slices of one: appending to one of them copies it
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// protections are the headers of every answer, made once.
func protections() http.Header {
	return http.Header{
		"X-Content-Type-Options":  {"nosniff"},
		"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
		"Referrer-Policy":         {"no-referrer"},
		"Cache-Control":           {"no-store"},
	}
}

func (rt *Router) dispatch(a *responseBuffer, r *http.Request) {
	defer rt.recover(a, r)
	if len(r.TransferEncoding) > 0 {
		// One that has a Content-Length as well may be meant to smuggle another
		// in, so its connection has to end (RFC 9112 section 6.1). The server
		// has removed that header, so all in chunks are taken for such.
		a.Header().Set("Connection", "close")
	}
	if !hasPath(a, r) {
		return
	}
	if rt.origin.Check(r) != nil {
		WriteProblem(a, Problem{Type: ForeignPage, Detail: "Changes requested by pages of other origins are refused."})
		return
	}
	if r.URL.Path != path.Clean(r.URL.Path) { // the multiplexer would redirect
		rt.unmatched(a, r, http.NotFoundHandler())
		return
	}
	handler, pattern := rt.mux.Handler(r)
	switch {
	case pattern == "":
		rt.unmatched(a, r, handler)
	case strings.Contains(strings.TrimSuffix(pattern, "{$}"), "{"):
		rt.mux.ServeHTTP(a, r) // sets r.Pattern and the path values
	default:
		r.Pattern = pattern
		handler.ServeHTTP(a, r)
	}
}

// hasPath says whether a request asks for a path, and answers where it does
// not: the forms "*" and "host:port" of a target (RFC 9112 section 3.2) are for
// servers as a whole and for proxies. The absolute form has a path.
func hasPath(w http.ResponseWriter, r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, "/") {
		return true
	}
	WriteProblem(w, Problem{Type: InvalidRequest, Detail: "The request target has to begin with /; GET / lists what there is."})
	return false
}

func (rt *Router) favicon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(favicon)
}

// Names of the metrics of [Catalogue].
const (
	PanicsTotal         = "http_panics_total"          // fed by the [Config]'s Panicked
	AcceptFailuresTotal = "http_accept_failures_total" // fed by [Failures]
)

// Catalogue returns the metrics of serving, which the service's own counters
// feed.
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{
		{
			Name: PanicsTotal, Kind: telemetry.Counter,
			Help: "Requests whose handler panicked; each was answered with 500.",
		},
		{
			Name: AcceptFailuresTotal, Kind: telemetry.Counter,
			Help: "Times that the system did not hand over a connection, mostly for want of file descriptors.",
		},
	}
}

// recover answers for a handler that panicked. What it had written is dropped.
// The client gets the trace id, by which the fault is found; the log has the rest.
func (rt *Router) recover(a *responseBuffer, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler {
		panic(fault)
	}
	rt.cfg.Log.ErrorContext(r.Context(), "request handler panicked",
		"route", Route(r), "panic", fault, "stack", string(debug.Stack()))
	if rt.cfg.Panicked != nil {
		rt.cfg.Panicked(r.Context())
	}
	span := trace.SpanFromContext(r.Context())
	span.SetStatus(codes.Error, "panic")
	span.SetAttributes(attribute.String("error.type", "panic"))
	p := Problem{Type: Fault, Detail: "The service failed to answer; the fault has been logged."}
	if c := span.SpanContext(); c.HasTraceID() {
		p.TraceID = c.TraceID().String()
	}
	a.restart()
	WriteProblem(a, p)
}

// unmatched turns the multiplexer's plain 404 or 405 into a problem, keeping
// its Allow header.
func (rt *Router) unmatched(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	response := &statusOnly{header: w.Header()}
	handler.ServeHTTP(response, r)
	if response.status == http.StatusMethodNotAllowed {
		WriteProblem(w, Problem{Type: WrongMethod, Detail: "This resource accepts " + w.Header().Get("Allow") + "."})
		return
	}
	WriteProblem(w, Problem{Type: UnknownResource, Detail: "No such resource; GET / lists what there is."})
}

// statusOnly takes an answer's status and headers and drops its body.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

func (rt *Router) root(w http.ResponseWriter, r *http.Request) {
	rt.endpoints.Lock()
	endpoints, page := slices.Clone(rt.endpoints.all), rt.endpoints.page
	rt.endpoints.Unlock()
	w.Header().Set("Vary", "Accept")
	if page != nil && WantsPage(r) {
		page(w, r)
		return
	}
	knownParameters(nil, func(w http.ResponseWriter, r *http.Request) {
		if WantsPage(r) {
			rt.links.write(w, rt.cfg.Service, rt.cfg.Version, endpoints)
			return
		}
		WriteJSON(w, http.StatusOK, map[string]any{"service": rt.cfg.Service, "version": rt.cfg.Version, "endpoints": endpoints})
	})(w, r)
}

// openAPI may be kept: it changes with the program.
func (rt *Router) openAPI(w http.ResponseWriter, r *http.Request) {
	document, err := rt.document()
	if err != nil {
		rt.cfg.Log.ErrorContext(r.Context(), "the OpenAPI document cannot be put together", "error", err)
		WriteProblem(w, Problem{Type: Fault, Detail: "The document cannot be put together."})
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(document)
}

func (rt *Router) health(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "service": rt.cfg.Service})
}

func (rt *Router) ready(w http.ResponseWriter, r *http.Request) {
	if err := rt.cfg.Ready.Check(r.Context()); err != nil {
		WriteProblem(w, Problem{Type: NotReady, Detail: "Not ready: " + err.Error() + ".", RetryAfter: retrySoon})
		return
	}
	WriteJSON(w, http.StatusOK, map[string]string{"status": "ready", "service": rt.cfg.Service})
}

// Readiness says whether a service can do its work, by asking what it stands
// on. Its methods are safe for concurrent use.
type Readiness struct {
	mu     sync.Mutex
	parts  []part
	reason string // why nobody is ready whatever the parts say; "" for no such reason
}

type part struct {
	name  string
	check func(context.Context) error
}

// Add appends a part. Its check must return soon and not wait for long-lived
// locks; its error is shown to clients.
func (r *Readiness) Add(name string, check func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, part{name, check})
}

// Hold has the service not be ready for a reason, beside those that the parts
// have, until [Readiness.Release].
func (r *Readiness) Hold(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason = reason
}

// Release ends [Readiness.Hold].
func (r *Readiness) Release() { r.Hold("") }

// PartState is what was found of a part; Err is nil where it is well.
type PartState struct {
	Name string
	Err  error
}

// Look checks all parts, side by side, so that one which hangs hides no other. It returns
// what it found, in the order in which they were added, and the first reason not to be ready.
func (r *Readiness) Look(ctx context.Context) ([]PartState, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	r.mu.Lock()
	parts, reason := slices.Clone(r.parts), r.reason
	r.mu.Unlock()
	found := make([]PartState, len(parts))
	var checks sync.WaitGroup
	for i, p := range parts {
		checks.Go(func() { found[i] = PartState{p.name, p.check(ctx)} })
	}
	checks.Wait()
	for _, p := range found {
		if p.Err != nil {
			return found, fmt.Errorf("%s: %w", p.Name, p.Err)
		}
	}
	if reason != "" {
		return found, errors.New(reason)
	}
	return found, nil
}

// Check returns the first reason not to be ready.
func (r *Readiness) Check(ctx context.Context) error {
	_, err := r.Look(ctx)
	return err
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
