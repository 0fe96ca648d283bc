package telemetry

import (
	"context"
	"os"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// newResource describes the service. OTEL_RESOURCE_ATTRIBUTES adds to it; the configuration has the last word
// on the service's name, since several services can share one process and its environment. The resource is
// usable even with an error.
func newResource(ctx context.Context, config Config) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithAttributes(semconv.ServiceName(config.Service), semconv.ServiceVersion(config.Version)),
	)
}

// maxSpanText bounds, in characters, the text of an attribute of a span: a request's path, say, is the caller's to
// choose, and collectors refuse large batches. OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT and its like go before it.
const maxSpanText = 4 << 10

// newTracerProvider leaves the limits to the SDK, which reads them from OTEL_SPAN_*. Panics are not recorded in spans: a
// panic's text can hold anything.
func newTracerProvider(
	resource *resource.Resource, sampler sdktrace.Sampler, processors []sdktrace.SpanProcessor,
) *sdktrace.TracerProvider {
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource), sdktrace.WithoutPanicRecording(), sdktrace.WithRawSpanLimits(spanLimits()),
		sdktrace.WithSampler(linkFollower{sampler}),
	}
	for _, p := range processors {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	return sdktrace.NewTracerProvider(options...)
}

func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxSpanText
	}
	return limits
}

// spanSource makes spans by the SDK where somebody reads them or a sampler was asked for.
func spanSource(sdk *sdktrace.TracerProvider, processors []sdktrace.SpanProcessor) trace.TracerProvider {
	if len(processors) == 0 && os.Getenv(samplerName) == "" {
		return idleProvider{}
	}
	return sdk
}

// recordsSpans says whether spans record anything.
func (t *Telemetry) recordsSpans() bool {
	_, idle := t.spans.(idleProvider)
	return !idle
}

func newPropagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, silentBaggage{})
}
