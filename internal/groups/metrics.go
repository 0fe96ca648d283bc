package groups

import (
	"context"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// Names of the metrics by which the collector tells of itself.
const (
	roundAge        = "sentinelle_round_age_seconds"
	roundDuration   = "sentinelle_round_duration_seconds"
	roundsTotal     = "sentinelle_rounds_total"
	requestsTotal   = "sentinelle_requests_total"
	failuresTotal   = "sentinelle_request_failures_total"
	leftOutMetric   = "sentinelle_left_out"
	unknownLags     = "sentinelle_unknown_lags"
	unknownAges     = "sentinelle_unknown_ages"
	outcomeComplete = "complete"
	outcomePartial  = "partial"
	outcomeFailed   = "failed"
)

// requests are the names of those that a round makes.
func requests() []string {
	return []string{
		"Metadata", "ListOffsets", "ListGroups", "DescribeGroups", "ConsumerGroupDescribe", "OffsetFetch", "DescribeConfigs", "Fetch",
	}
}

// unknowns are the cases in which a lag is not known.
func unknowns() []Case { return []Case{Uncommitted, Expired, Beyond, Recreated, Unseen} }

// Catalogue returns the metrics of [Collector.Export].
func Catalogue() telemetry.Catalogue {
	return slices.Concat(shown(), telemetry.Catalogue{
		{
			Name: roundAge, Kind: telemetry.Gauge, Unit: "s",
			Help: "Time since the last round over the cluster in which a broker answered, or since the start where none has yet.",
		},
		{Name: roundDuration, Kind: telemetry.Gauge, Unit: "s", Help: "How long the last round took; absent before the first."},
		{
			Name: roundsTotal, Kind: telemetry.Counter, Labels: []string{"outcome"}, Bound: "complete, partial (something is unknown) or failed (no broker answered)", MaxSeries: 3,
			Help: "Rounds over the cluster.",
		},
		{
			Name: requestsTotal, Kind: telemetry.Counter, Labels: []string{"request"}, Bound: "requests of Kafka's protocol that a round makes", MaxSeries: len(requests()),
			Help: "Requests to brokers.",
		},
		{
			Name: failuresTotal, Kind: telemetry.Counter, Labels: []string{"kind"}, Bound: "kinds of failure", MaxSeries: len(kinds()),
			Help: "Requests that a broker did not answer, or answered with an error, each kind of request once for a broker and round.",
		},
		{
			Name: leftOutMetric, Kind: telemetry.Gauge, Labels: []string{"what"}, Bound: "topics, partitions, groups, readings or ages", MaxSeries: 5,
			Help: "What the limits left out of the last round.",
		},
		{
			Name: unknownLags, Kind: telemetry.Gauge, Labels: []string{"reason"}, Bound: "cases in which a lag is not known", MaxSeries: len(unknowns()),
			Help: "Partitions that groups read whose lag is not known.",
		},
		{Name: unknownAges, Kind: telemetry.Gauge, Help: "Partitions with a known lag of which the first unprocessed record's age is not known."},
	})
}

// counts are the collector's counters; nil where nobody wants them.
type counts struct{ rounds, requests, failures metric.Int64Counter }

// Export shows the latest round, and how the collector fares, on the page of a
// service. It is called once, before [Collector.Run].
func (c *Collector) Export(t *telemetry.Telemetry) error {
	if err := t.Registry().Register(newExporter(c, t.Service())); err != nil {
		return fmt.Errorf("show groups: %w", err)
	}
	instruments := t.Instruments()
	for name, counter := range map[string]*metric.Int64Counter{roundsTotal: &c.counts.rounds, requestsTotal: &c.counts.requests, failuresTotal: &c.counts.failures} {
		var err error
		if *counter, err = instruments.Int64Counter(name); err != nil {
			return err
		}
	}
	ctx := context.Background()
	for _, outcome := range []string{outcomeComplete, outcomePartial, outcomeFailed} {
		c.counts.rounds.Add(ctx, 0, label("outcome", outcome))
	}
	for _, request := range requests() {
		c.counts.requests.Add(ctx, 0, label("request", request))
	}
	for _, kind := range kinds() {
		c.counts.failures.Add(ctx, 0, label("kind", string(kind)))
	}
	started := c.cfg.Now()
	_, err := instruments.Observe([]string{roundAge, roundDuration, leftOutMetric, unknownLags, unknownAges}, func(_ context.Context, o telemetry.Observation) error {
		seen := started
		if at := c.seen.Load(); at != nil {
			seen = *at
		}
		o.Gauge(roundAge, max(0, c.cfg.Now().Sub(seen).Seconds()))
		if r := c.Latest(); r != nil {
			r.observe(o)
		}
		return nil
	})
	return err
}

func label(name, value string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String(name, value))
}

func (r *Round) observe(o telemetry.Observation) {
	o.Gauge(roundDuration, r.Took().Seconds())
	for what, n := range map[string]int{
		"topics": r.LeftOut.Topics, "partitions": r.LeftOut.Partitions, "groups": r.LeftOut.Groups, "readings": r.LeftOut.Readings, "ages": r.LeftOut.Ages,
	} {
		o.Gauge(leftOutMetric, float64(n), label("what", what))
	}
	reasons, ages := r.unknown()
	for _, reason := range unknowns() {
		o.Gauge(unknownLags, float64(reasons[reason]), label("reason", string(reason)))
	}
	o.Gauge(unknownAges, float64(ages))
}

// unknown counts the readings whose lag is not known, by the reason, and those of
// which only the age is not.
func (r *Round) unknown() (lags map[Case]int, ages int) {
	lags = map[Case]int{}
	for _, g := range r.Groups {
		for _, one := range g.Readings {
			if _, known := one.Lag.Get(); !known {
				lags[one.Case]++
			} else if one.Age.IsZero() {
				ages++
			}
		}
	}
	return lags, ages
}

// outcome is the round's in a word.
func (r *Round) outcome() string {
	switch {
	case r.Answering() == 0:
		return outcomeFailed
	case len(r.Failures) > 0:
		return outcomePartial
	default:
		return outcomeComplete
	}
}

func (c *counts) add(ctx context.Context, r *Round) {
	if c.rounds == nil {
		return
	}
	c.rounds.Add(ctx, 1, label("outcome", r.outcome()))
	for request, n := range r.Requests {
		c.requests.Add(ctx, int64(n), label("request", request))
	}
	for _, f := range r.Failures {
		c.failures.Add(ctx, 1, label("kind", string(f.Kind)))
	}
}
