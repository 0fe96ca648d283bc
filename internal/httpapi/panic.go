package httpapi

import (
	"net/http"
	"runtime/debug"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

// PanicsTotal is the name of the metric that counts handlers that panicked.
const PanicsTotal = "http_panics_total"

// Catalogue returns the metric that the [Config]'s Panicked feeds.
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: PanicsTotal, Kind: telemetry.Counter,
		Help: "Requests whose handler panicked; each was answered with 500.",
	}}
}

// recover answers for a handler that panicked. What it had written is dropped.
// The client is told the trace, in which the fault stands; the log has the rest.
func (rt *Router) recover(a *answer, r *http.Request) {
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
	p := Problem{Status: http.StatusInternalServerError, Detail: "The service failed to answer; the fault has been logged."}
	if c := span.SpanContext(); c.HasTraceID() {
		p.TraceID = c.TraceID().String()
	}
	a.restart()
	WriteProblem(a, p)
}
