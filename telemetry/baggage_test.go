package telemetry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// What a client sends as baggage travels on within its bound, and is in no span.
func TestBaggageOfClients(t *testing.T) {
	var members []string
	for i := range 70 {
		members = append(members, fmt.Sprintf("k%d=marked", i))
	}
	var errs []error // what goes to the global handler, and from there to standard error
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { errs = append(errs, err) }))
	for name, test := range map[string]struct {
		sent    []string
		members int
	}{
		"some":                      {[]string{"tenant=marked,user=marked"}, 2},
		"too long a member":         {[]string{"tenant=" + strings.Repeat("marked", 2000)}, 0},
		"too many bytes altogether": {[]string{"a=" + strings.Repeat("marked", 1000), "b=" + strings.Repeat("marked", 1000)}, 0},
		"too many members":          {[]string{strings.Join(members, ",")}, 64},
		"several headers":           {[]string{"tenant=blue", "user=marked"}, 2},
		"malformed":                 {[]string{"user marked"}, 0},
		"malformed in part":         {[]string{"user marked,tenant=blue"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", nil)
			var carried string
			handler := telemetry.HTTPMiddleware(r.Telemetry, nil)(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				carrier := propagation.MapCarrier{}
				r.Propagator().Inject(req.Context(), carrier)
				carried = carrier["baggage"]
				r.Logger().InfoContext(req.Context(), "handled")
			}))
			req := httptest.NewRequest(http.MethodPost, "/orders", nil)
			req.Header["Baggage"] = test.sent
			handler.ServeHTTP(httptest.NewRecorder(), req)
			if got := strings.Count(carried, "="); got != test.members || len(carried) > 8192 {
				t.Errorf("%d members in %d bytes travel on, want %d", got, len(carried), test.members)
			}
			if text := fmt.Sprintf("%+v %+v %s", r.Spans(), r.Logs(), r.OpenMetricsPage()); strings.Contains(text, "marked") || !strings.Contains(text, "handled") {
				t.Errorf("baggage is in a signal: %s", text)
			}
		})
	}
	if len(errs) > 0 {
		t.Errorf("told to the global handler: %v", errs)
	}
}
