package catalogue

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/internal/labels"
)

// maxLabelValue bounds a label's value, in bytes.
const maxLabelValue = 1024

// hold returns the labels that a measurement of the metric may have: of those in the set the ones that the catalogue
// declares, their values repaired where they are no UTF-8, and cut where they are too long. One value that is no text
// would cost the page its series, at each scrape. asIs says that the set is so already, as it nearly always is.
func (m Metric) hold(set attribute.Set) (held attribute.Set, asIs bool) {
	asIs = true
	for i := 0; asIs && i < set.Len(); i++ {
		label, _ := set.Get(i)
		asIs = m.declares(label.Key) && isLabelValue(label.Value)
	}
	if asIs {
		return set, true
	}
	var list []attribute.KeyValue
	for _, label := range set.ToSlice() {
		if !m.declares(label.Key) {
			continue
		}
		if !isLabelValue(label.Value) {
			label.Value = attribute.StringValue(labels.Cut(label.Value.String(), maxLabelValue))
		}
		list = append(list, label)
	}
	return attribute.NewSet(list...), false
}

// declares says whether the catalogue has the label, under its name on the page: that of an attribute of the semantic
// conventions has _ for each dot.
func (m Metric) declares(key attribute.Key) bool {
	for _, label := range m.Labels {
		if label == string(key) || len(label) == len(key) && isPageName(label, string(key)) {
			return true
		}
	}
	return false
}

// isPageName compares without making a string, for every measurement comes here.
func isPageName(label, key string) bool {
	for i := range len(key) {
		if label[i] != key[i] && (label[i] != '_' || key[i] != '.') {
			return false
		}
	}
	return true
}

func isLabelValue(v attribute.Value) bool {
	return labels.ValidText(v) && (v.Type() != attribute.STRING || len(v.AsString()) <= maxLabelValue)
}

// heldInt64Counter is a counter whose measurements have the labels of its declaration, and that only goes up.
type heldInt64Counter struct {
	metric.Int64Counter
	declared Metric
}

// Add implements [metric.Int64Counter].
func (c heldInt64Counter) Add(ctx context.Context, n int64, options ...metric.AddOption) {
	if n >= 0 {
		c.Int64Counter.Add(ctx, n, c.declared.holdAdd(options)...)
	}
}

// heldFloat64Counter is [heldInt64Counter] for amounts that are not whole. Those of another unit than seconds have no
// exemplars: they are measured outside any trace.
type heldFloat64Counter struct {
	metric.Float64Counter
	declared Metric
}

// Add implements [metric.Float64Counter].
func (c heldFloat64Counter) Add(ctx context.Context, n float64, options ...metric.AddOption) {
	if n >= 0 {
		c.Float64Counter.Add(c.declared.traced(ctx), n, c.declared.holdAdd(options)...)
	}
}

// heldFloat64Histogram is [heldFloat64Counter] for histograms.
type heldFloat64Histogram struct {
	metric.Float64Histogram
	declared Metric
}

// Record implements [metric.Float64Histogram].
func (h heldFloat64Histogram) Record(ctx context.Context, value float64, options ...metric.RecordOption) {
	if set, asIs := h.declared.hold(metric.NewRecordConfig(options).Attributes()); !asIs {
		options = []metric.RecordOption{metric.WithAttributeSet(set)}
	}
	h.Float64Histogram.Record(h.declared.traced(ctx), value, options...)
}

func (m Metric) holdAdd(options []metric.AddOption) []metric.AddOption {
	if set, asIs := m.hold(metric.NewAddConfig(options).Attributes()); !asIs {
		return []metric.AddOption{metric.WithAttributeSet(set)}
	}
	return options
}

func (m Metric) holdObserve(options []metric.ObserveOption) []metric.ObserveOption {
	if set, asIs := m.hold(metric.NewObserveConfig(options).Attributes()); !asIs {
		return []metric.ObserveOption{metric.WithAttributeSet(set)}
	}
	return options
}

// traced returns the context to measure in: one without a trace where its exemplar would disclose something.
func (m Metric) traced(ctx context.Context) context.Context {
	if m.Unit == seconds {
		return ctx
	}
	return context.Background()
}
