package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// HTTPOption changes what [HTTPMiddleware] does.
type HTTPOption func(*httpChoices)

type httpChoices struct {
	conventions bool
	quiet       func(*http.Request) bool
}

// WithConventions records http.server.request.duration of OpenTelemetry's semantic conventions beside the documented
// metrics. Its error.type is the status of answers from 500 on, or "panic". Its url.scheme is that of the connection,
// whatever a proxy in front says.
func WithConventions() HTTPOption { return func(c *httpChoices) { c.conventions = true } }

// httpConventions records http.server.request.duration. Past the budget, an attribute set not seen before keeps its
// method and scheme.
type httpConventions struct {
	duration metric.Float64Histogram
	series   *labels.Cache[httpConventionSeries, []metric.RecordOption]
}

// httpConventionSeries is one attribute set. Empty fields stand for attributes left out.
type httpConventionSeries struct {
	method, scheme, route, version string
	status                         int
	panicked                       bool
}

func newHTTPConventions(instruments *Instruments) (*httpConventions, error) {
	duration, err := instruments.Float64Histogram(HTTPServerRequestDuration)
	if err != nil {
		return nil, err
	}
	budget := instruments.Budget(HTTPServerRequestDuration, 2*httpSpare)
	admit := func(k httpConventionSeries) bool {
		return budget.Admit(k.method, k.scheme, k.version, strconv.Itoa(k.status), strconv.FormatBool(k.panicked), k.route)
	}
	build := func(k httpConventionSeries) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(k.attributes())}
	}
	return &httpConventions{duration: duration, series: labels.NewCache(admit, build)}, nil
}

func (h *httpConventions) record(r *http.Request, route string, status int, panicked bool, took time.Duration) {
	key := httpConventionSeries{
		method: knownMethod(r.Method, LabelOther), scheme: "http", route: route,
		version: httpVersion(r), status: knownStatus(status), panicked: panicked,
	}
	if r.TLS != nil {
		key.scheme = "https"
	}
	shared := httpConventionSeries{method: key.method, scheme: key.scheme, route: LabelOther}
	h.duration.Record(r.Context(), took.Seconds(), h.series.GetOr(key, shared)...)
}

func (k httpConventionSeries) attributes() attribute.Set {
	list := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(k.method), semconv.URLScheme(k.scheme)}
	if k.route != "" {
		list = append(list, semconv.HTTPRoute(k.route))
	}
	if k.version != "" {
		list = append(list, semconv.NetworkProtocolVersion(k.version))
	}
	if k.status != 0 {
		list = append(list, semconv.HTTPResponseStatusCode(k.status))
	}
	switch {
	case k.panicked:
		list = append(list, semconv.ErrorTypeKey.String("panic"))
	case k.status >= http.StatusInternalServerError:
		list = append(list, semconv.ErrorTypeKey.String(strconv.Itoa(k.status)))
	}
	return attribute.NewSet(list...)
}

// httpVersion returns the protocol's version as the conventions write it, or "" for one that there is not.
func httpVersion(r *http.Request) string {
	switch [2]int{r.ProtoMajor, r.ProtoMinor} {
	case [2]int{1, 0}:
		return "1.0"
	case [2]int{1, 1}:
		return "1.1"
	case [2]int{2, 0}:
		return "2"
	case [2]int{3, 0}:
		return "3"
	default:
		return ""
	}
}
