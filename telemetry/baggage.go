package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
)

// silentBaggage propagates W3C Baggage as [propagation.Baggage] does, and drops what is malformed or beyond the
// specification's limits without a word: the other hands the text of the first bad member in a process's life to the
// global error handler, which writes it, whatever a client put there, to standard error.
type silentBaggage struct{ propagation.Baggage }

// Extract implements [propagation.TextMapPropagator].
func (b silentBaggage) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	name := b.Fields()[0]
	text := carrier.Get(name)
	if all, ok := carrier.(propagation.ValuesGetter); ok {
		text = strings.Join(all.Values(name), ",") // several headers are one list
	}
	if text == "" {
		return ctx
	}
	found, _ := baggage.Parse(text) // the error names what is missing from found
	if found.Len() == 0 {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, found)
}
