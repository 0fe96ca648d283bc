package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// A panic is a 500 that names the trace, a count, and a span that failed; what
// the handler had written by then is not sent.
func TestAPanicIsCountedAndTraced(t *testing.T) {
	const traceID = "14238f770463eba2bf003d4040e387a6"
	recorder := telemetrytest.New(t, "clerk", httpapi.Catalogue())
	panics, err := recorder.Instruments().Int64Counter(httpapi.PanicsTotal)
	if err != nil {
		t.Fatal(err)
	}
	rt := own(httpapi.Config{
		Log:      httpapi.LogRequestIDs(recorder.Logger()),
		Panicked: func(ctx context.Context) { panics.Add(ctx, 1) },
	}, func(w http.ResponseWriter, _ *http.Request) {
		httpapi.WriteJSON(w, http.StatusCreated, "half an answer")
		panic("the fault")
	})
	h := httpapi.Identify(telemetry.HTTPMiddleware(recorder.Telemetry, httpapi.Route)(rt))
	r := httptest.NewRequest(http.MethodPost, "/things", strings.NewReader("{}"))
	r.Header.Set("traceparent", "00-"+traceID+"-7f4bf034cc699c63-01")
	r.Header.Set(httpapi.RequestID, "checkout-1")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	document := problem(t, w, http.StatusInternalServerError)
	if document["traceId"] != traceID || document["requestId"] != "checkout-1" || strings.Contains(w.Body.String(), "half") {
		t.Errorf("the answer is %s", w.Body)
	}
	if got := recorder.Metric(httpapi.PanicsTotal, nil); got != 1 {
		t.Errorf("%v panics are counted", got)
	}
	if got := recorder.Metric(telemetry.HTTPRequestsTotal, map[string]string{"route": "/things", "status_code": "500"}); got != 1 {
		t.Errorf("%v requests are counted with 500", got)
	}
	if span := recorder.Span("POST /things"); span.Status.Code != codes.Error || span.SpanContext.TraceID().String() != traceID {
		t.Errorf("the span is %+v of trace %s", span.Status, span.SpanContext.TraceID())
	}
	lines := recorder.Logs()
	if len(lines) != 1 || lines[0]["request_id"] != "checkout-1" || lines[0]["trace_id"] != traceID || lines[0]["panic"] != "the fault" {
		t.Errorf("the log has %v", lines)
	}
	recorder.CheckCatalogue()
}
