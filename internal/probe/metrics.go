package probe

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// Names of the metrics.
const (
	Success         = "probe_success"
	DurationSeconds = "probe_duration_seconds"
	LastSuccess     = "probe_last_success_timestamp_seconds"
	FailuresTotal   = "probe_failures_total"
	IntervalSeconds = "probe_interval_seconds"
)

// The steps of a probe.
const (
	stepAccepted = "accepted"
	stepDecided  = "decided"
	stepVisible  = "visible"
)

// Catalogue returns the metrics of probes.
func Catalogue() telemetry.Catalogue {
	const partitions = "the first 64 partitions of orders.created"
	return telemetry.Catalogue{
		{
			Name: Success, Kind: telemetry.Gauge, Labels: []string{"partition"}, Bound: partitions, MaxSeries: MaxPartitions,
			Help: "1 where the last probe of the partition went all the way before the next was due, within ten seconds, else 0. No series before the first has ended, where nothing is probed, and while no probe ends.",
		},
		{
			Name: LastSuccess, Kind: telemetry.Gauge, Unit: "s", Labels: []string{"partition"}, Bound: partitions, MaxSeries: MaxPartitions,
			Help: "When a probe of the partition last went all the way, in seconds since 1970. No series before the first has.",
		},
		{
			Name: DurationSeconds, Kind: telemetry.Histogram, Unit: "s", Labels: []string{"step"},
			Bound: "accepted (commande has answered 201), decided (the decision was read from the topics) or visible (suivi shows it)", MaxSeries: 3,
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 7.5, 10},
			Help:    "How long after it was sent a probe came to a step. Of a step that it did not come to, or that was not seen, there is nothing.",
		},
		{
			Name: FailuresTotal, Kind: telemetry.Counter, Labels: []string{"reason"}, MaxSeries: len(Reasons()),
			Bound: "commande_away, unaccepted, refused, unmarked, undecided, dead_lettered, invisible, suivi_away or suivi_refused",
			Help:  "Probes that failed, by the step at which they did, as far as that was seen.",
		},
		{
			Name: IntervalSeconds, Kind: telemetry.Gauge, Unit: "s",
			Help: "How often each partition is probed. No series where nothing is.",
		},
	}
}

// measure makes the metrics.
func (p *Prober) measure() (err error) {
	instruments := p.cfg.Telemetry.Instruments()
	if p.duration, err = instruments.Float64Histogram(DurationSeconds); err != nil {
		return err
	}
	if p.failures, err = instruments.Int64Counter(FailuresTotal); err != nil {
		return err
	}
	for _, reason := range Reasons() {
		p.failures.Add(context.Background(), 0, of("reason", string(reason)))
	}
	p.registry, err = instruments.Observe([]string{Success, LastSuccess, IntervalSeconds}, p.observe)
	return err
}

func of(label, value string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String(label, value))
}

func (p *Prober) observe(_ context.Context, o telemetry.Observation) error {
	o.Gauge(IntervalSeconds, p.cfg.Interval.Seconds())
	for _, r := range p.Latest() {
		at, success := of("partition", strconv.Itoa(int(r.Partition))), 0.0
		if r.OK {
			success = 1
		}
		o.Gauge(Success, success, at)
		if r.LastSuccess != nil {
			o.Gauge(LastSuccess, float64(r.LastSuccess.UnixMilli())/1000, at)
		}
	}
	return nil
}

// count measures what came of a probe.
func (p *Prober) count(ctx context.Context, r Result) {
	for step, took := range map[string]float64{stepAccepted: r.Accepted, stepDecided: r.Decided, stepVisible: r.Visible} {
		if took > 0 {
			p.duration.Record(ctx, took, of("step", step))
		}
	}
	if !r.OK {
		p.failures.Add(ctx, 1, of("reason", string(r.Reason)))
	}
}
