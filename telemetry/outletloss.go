package telemetry

import (
	"context"
	"regexp"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Names of the metrics about telemetry that was lost on its way out of the process.
const (
	SpansDroppedTotal      = "otel_spans_dropped_total"
	LogRecordsDroppedTotal = "otel_log_records_dropped_total"
)

// Values of the label reason.
const (
	lostQueueFull    = "queue_full"    // it was recorded faster than the collector takes it
	lostExportFailed = "export_failed" // the collector was away, too slow, or answered an error
	lostRejected     = "rejected"      // the collector took the rest of the batch, and not this
)

// exportMetrics are 0 where nothing is exported.
func exportMetrics() Catalogue {
	const bound = "queue_full, export_failed, rejected"
	return Catalogue{
		{
			Name: SpansDroppedTotal, Kind: Counter, Labels: []string{"reason"}, Bound: bound, MaxSeries: 3,
			Help: "Sampled spans that did not reach the collector.",
		},
		{
			Name: LogRecordsDroppedTotal, Kind: Counter, Labels: []string{"reason"}, Bound: bound, MaxSeries: 3,
			Help: "Log records that did not reach the collector; they are in the service's own log.",
		},
	}
}

// lossCounter counts what one signal lost, by reason.
type lossCounter struct {
	counter metric.Int64Counter
	reasons map[string][]metric.AddOption
}

func newLossCounter(instruments *Instruments, name string) (lossCounter, error) {
	counter, err := instruments.Int64Counter(name)
	if err != nil {
		return lossCounter{}, err
	}
	c := lossCounter{counter: counter, reasons: map[string][]metric.AddOption{}}
	for _, reason := range []string{lostQueueFull, lostExportFailed, lostRejected} {
		c.reasons[reason] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", reason)))}
		c.add(0, reason)
	}
	return c, nil
}

func (c lossCounter) add(n int64, reason string) {
	c.counter.Add(context.Background(), n, c.reasons[reason]...)
}

// lossOf says how many of n items an export's error stands for. A collector may take a part of a batch and say how
// many it rejected (OTLP, partial success); OpenTelemetry's exporters hold the number in types of their own
// internal packages, so it is read from the text. A partial success of 0 is a remark.
func lossOf(err error, n int64) (lost int64, reason string) {
	match := regexp.MustCompile(`OTLP partial success: (?s:.*) \((\d+) \w+ rejected\)`).FindStringSubmatch(err.Error())
	if match == nil {
		return n, lostExportFailed
	}
	rejected, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return n, lostRejected
	}
	return min(rejected, n), lostRejected
}
