// Package traces tells the story of one order: as the tree of its trace's
// spans where Jaeger has them, and from the order's records in Kafka where it
// has not, since the records carry the trace id and say who caused whom even
// when no span was kept.
//
// It only reads. What it says about an order names places, times and outcomes,
// never who ordered, what, or for how much. Texts that come from elsewhere are
// cut and cleaned before they reach a terminal.
package traces
