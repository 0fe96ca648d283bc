package sentinelle

import (
	"context"
	"net/http"
	"strings"
	"time"

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

// spanRow is a span of an order's trace as the page shows it: its bar begins at X
// and is W wide, in thousandths of the whole.
type spanRow struct {
	traces.Row
	Indent      string
	Began, Took time.Duration
	X, W        int
}

const (
	thousand   = 1000
	thinnest   = 4  // what takes no time is seen all the same
	mostRows   = 60 // of one page
	mostIndent = 8
)

// waterfall is an order's trace, row by row; none where the source has none.
func waterfall(ctx context.Context, source traces.Source, order string) (rows []spanRow) {
	if source == nil {
		return nil
	}
	found, err := source.Order(ctx, order)
	if err != nil {
		return nil
	}
	for _, row := range traces.NewTree(found).Rows() {
		if len(rows) == mostRows {
			break
		}
		width := max(int(row.Width*thousand), thinnest)
		rows = append(rows, spanRow{
			Row: row, Indent: strings.Repeat("\u2003", min(row.Depth, mostIndent)), // spaces that stay
			Began: row.After.Round(time.Microsecond), Took: row.Duration.Round(time.Microsecond),
			X: min(int(row.From*thousand), thousand-width), W: width,
		})
	}
	return rows
}
