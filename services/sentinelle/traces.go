package sentinelle

import (
	"context"
	"net/http"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/traces"
)

// serveTraces tells programs of the traces that a source has, and has the metrics
// say how many are kept where this process keeps them.
func serveTraces(b *service.Base, source traces.Source) error {
	b.Router.Handle("GET /traces/{id}", func(w http.ResponseWriter, r *http.Request) { tellTrace(w, r, source) })
	recent, ok := source.(*traces.Recent)
	if !ok {
		return nil
	}
	registration, err := recent.Measure(b.Telemetry.Instruments())
	if err != nil {
		return err
	}
	b.Stack.OnStop("recent traces", func(context.Context) error { return registration.Unregister() })
	return nil
}

// tellTrace answers with an order's trace, or with that of an id.
func tellTrace(w http.ResponseWriter, r *http.Request, source traces.Source) {
	unknown := httpapi.Problem{Type: httpapi.UnknownResource, Detail: "No traces are kept here; `vigie up` keeps some of the last."}
	if source == nil {
		httpapi.WriteProblem(w, unknown)
		return
	}
	found, err := traces.Find(r.Context(), source, r.PathValue("id"))
	if err == nil {
		httpapi.WriteJSON(w, http.StatusOK, traces.NewTree(found))
		return
	}
	unknown.Detail = "No trace of that order or id is kept: it was passed over, or has made room for others."
	httpapi.WriteProblem(w, unknown)
}
