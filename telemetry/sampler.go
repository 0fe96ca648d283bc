package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The variables that choose a sampler.
const (
	samplerName     = "OTEL_TRACES_SAMPLER"
	samplerArgument = "OTEL_TRACES_SAMPLER_ARG"
)

// linkFollower samples a root that starts with links where a child of one of the linked spans would be sampled. A batch's
// span is such a root: decided by its own trace id it would be missing from the traces that were kept, and kept where
// none of its records was. Everything else is the configured sampler's to decide, as is every link.
type linkFollower struct{ configured sdktrace.Sampler }

// ShouldSample implements [sdktrace.Sampler].
func (f linkFollower) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if len(p.Links) == 0 || trace.SpanContextFromContext(p.ParentContext).IsValid() {
		return f.configured.ShouldSample(p)
	}
	var last sdktrace.SamplingResult
	for _, link := range p.Links {
		child := p
		child.ParentContext, child.TraceID = trace.ContextWithSpanContext(context.Background(), link.SpanContext), link.SpanContext.TraceID()
		last = f.configured.ShouldSample(child)
		if last.Decision == sdktrace.RecordAndSample {
			break
		}
	}
	last.Tracestate = trace.TraceState{} // the linked trace's
	return last
}

// Description implements [sdktrace.Sampler].
func (f linkFollower) Description() string { return "LinkFollower{" + f.configured.Description() + "}" }

// samplerFromEnvironment returns the sampler of OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG. As the OpenTelemetry
// specification says (Environment Variable Specification, "General SDK Configuration"), the default is
// parentbased_always_on, the default ratio is 1, and a value that means nothing counts as unset: the error says so, and
// the sampler is usable all the same. The SDK reads the variables alike, and gives nobody the sampler to wrap.
func samplerFromEnvironment() (sdktrace.Sampler, error) {
	name := strings.ToLower(strings.TrimSpace(os.Getenv(samplerName)))
	kind, ofParent := strings.CutPrefix(name, "parentbased_")
	var root sdktrace.Sampler
	var err error
	switch kind {
	case "always_on":
		root = sdktrace.AlwaysSample()
	case "always_off":
		root = sdktrace.NeverSample()
	case "traceidratio":
		var ratio float64
		ratio, err = ratioFromEnvironment()
		root = sdktrace.TraceIDRatioBased(ratio)
	default:
		root, ofParent = sdktrace.AlwaysSample(), true
		if name != "" {
			err = fmt.Errorf("%s %q: no sampler of that name, using parentbased_always_on", samplerName, name)
		}
	}
	if ofParent {
		root = sdktrace.ParentBased(root)
	}
	return root, err
}

func ratioFromEnvironment() (float64, error) {
	text := strings.TrimSpace(os.Getenv(samplerArgument))
	if text == "" {
		return 1, nil
	}
	ratio, err := strconv.ParseFloat(text, 64)
	if err == nil && !(ratio >= 0 && ratio <= 1) { // also refuses NaN
		err = errors.New("out of range")
	}
	if err != nil {
		return 1, fmt.Errorf("%s %q: want a ratio from 0 to 1, using 1: %w", samplerArgument, text, err)
	}
	return ratio, nil
}
