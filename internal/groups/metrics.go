package groups

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/verdicts"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
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
	missingRights   = "sentinelle_missing_rights"
	outcomeComplete = "complete"
	outcomePartial  = "partial"
	outcomeFailed   = "failed"
)

// Names of the metrics that show a round. Those that kafka_exporter has too are
// named as there, so that its dashboards and rules go on working.
const (
	brokersMetric      = "kafka_brokers"
	brokerInfo         = "kafka_broker_info"
	brokerAnswers      = "kafka_broker_answers"
	topicPartitions    = "kafka_topic_partitions"
	currentOffset      = "kafka_topic_partition_current_offset"
	stableOffset       = "kafka_topic_partition_last_stable_offset"
	oldestOffset       = "kafka_topic_partition_oldest_offset"
	leaderMetric       = "kafka_topic_partition_leader"
	leaderIsPreferred  = "kafka_topic_partition_leader_is_preferred"
	replicasMetric     = "kafka_topic_partition_replicas"
	inSyncReplica      = "kafka_topic_partition_in_sync_replica"
	underReplicated    = "kafka_topic_partition_under_replicated_partition"
	groupInfo          = "kafka_consumergroup_info"
	groupMembers       = "kafka_consumergroup_members"
	groupCurrentOffset = "kafka_consumergroup_current_offset"
	groupOffsetSum     = "kafka_consumergroup_current_offset_sum"
	groupLag           = "kafka_consumergroup_lag"
	groupLagSum        = "kafka_consumergroup_lag_sum"
	groupLagSeconds    = "kafka_consumergroup_lag_seconds"
	groupPurged        = "kafka_consumergroup_purged_offsets"
	groupState         = "kafka_consumergroup_state"
	groupCatchUp       = "kafka_consumergroup_catchup_seconds"
	groupSecondsToLoss = "kafka_consumergroup_seconds_to_loss"
	boundOfPartitions  = "topics that are chosen, at most 50,000 partitions of them"
	boundOfReadings    = "groups that are chosen, at most 50,000 partitions that they read"
	labelGroup         = "consumergroup"
	labelTopic         = "topic"
	labelPartition     = "partition"
	labelID            = "id"
	labelAddress       = "address"
	labelType          = "type"
	labelState         = "state"
	staleRounds        = 3 // that are missing until what was seen is too old to show
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
		{
			Name: missingRights, Kind: telemetry.Gauge, Labels: []string{"part"}, MaxSeries: len(parts()),
			Bound: "topic (all of it, where members of groups name it), ages (of its records) or retention",
			Help:  "Topics of which the user has no right to see a part. Groups that it may not describe are failed requests of the kind authorization.",
		},
	})
}

// shown are the metrics that show a round.
func shown() telemetry.Catalogue {
	gauge := func(name, unit, help, bound string, labels ...string) telemetry.Metric {
		return telemetry.Metric{Name: name, Kind: telemetry.Gauge, Unit: unit, Help: help, Bound: bound, Labels: labels}
	}
	topic := func(name, help string, labels ...string) telemetry.Metric {
		return gauge(name, "", help, boundOfPartitions, append([]string{labelTopic}, labels...)...)
	}
	group := func(name, unit, help string, labels ...string) telemetry.Metric {
		return gauge(name, unit, help, boundOfReadings, append([]string{labelGroup}, labels...)...)
	}
	const broker = "the cluster's brokers"
	return telemetry.Catalogue{
		{Name: brokersMetric, Kind: telemetry.Gauge, Help: "Brokers that answered in the last round, 0 where none did."},
		gauge(brokerInfo, "", "1 for each broker of the cluster.", broker, labelID, labelAddress),
		gauge(brokerAnswers, "", "1 where the broker answered in the last round, else 0.", broker, labelID),
		topic(topicPartitions, "Partitions of the topic."),
		topic(currentOffset, "The partition's high watermark: the offset of the next record.", labelPartition),
		topic(stableOffset, "The partition's last stable offset: where readers of committed records end.", labelPartition),
		topic(oldestOffset, "The first offset that the partition's log still has.", labelPartition),
		topic(leaderMetric, "The id of the broker that leads the partition, -1 where none does.", labelPartition),
		topic(leaderIsPreferred, "1 where the first of the partition's replicas leads it, else 0.", labelPartition),
		topic(replicasMetric, "Replicas of the partition.", labelPartition),
		topic(inSyncReplica, "Replicas of the partition that are in sync.", labelPartition),
		topic(underReplicated, "1 where replicas of the partition are not in sync, else 0.", labelPartition),
		group(groupInfo, "", "1 for each group, share groups included.", labelType, labelState),
		group(groupMembers, "", "Members of the group."),
		group(groupCurrentOffset, "", "The offset that the group has committed: the next one that it will process.", labelTopic, labelPartition),
		group(groupOffsetSum, "", "Sum of the offsets that the group has committed in the topic; absent where one is unknown.", labelTopic),
		group(groupLag, "", "Offsets that the group has not processed, from its first unprocessed record to the last stable offset; absent where it is unknown.", labelTopic, labelPartition),
		group(groupLagSum, "", "Sum of the lags of the topic's partitions; absent where one is unknown.", labelTopic),
		group(groupLagSeconds, "s", "Age of the first record that the group has not processed, 0 where there is none; absent where it is unknown.", labelTopic, labelPartition),
		group(groupPurged, "", "Offsets that were deleted before the group had read them.", labelTopic, labelPartition),
		group(groupState, "", "1 for the state that the group is in on the topic, by the worst of its partitions, 0 for the others.", labelTopic, labelState),
		group(groupCatchUp, "s", "Time until nothing waits any more, as the group reads now; absent where it does not get closer.", labelTopic, labelPartition),
		group(groupSecondsToLoss, "", "Seconds until retention deletes what the group has not read, if it reads nothing; absent where nothing can be lost.", labelTopic, labelPartition),
	}
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
	_, err := instruments.Observe([]string{roundAge, roundDuration, leftOutMetric, unknownLags, unknownAges, missingRights}, func(_ context.Context, o telemetry.Observation) error {
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
	missing := map[Part]int{}
	for _, f := range r.Forbidden {
		missing[f.What] = len(f.Topics)
	}
	for _, part := range parts() {
		o.Gauge(missingRights, float64(missing[part]), label("part", string(part)))
	}
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

// exporter shows the latest round to Prometheus. It is no OpenTelemetry instrument:
// those keep at most 2,000 series, and look at each label at each scrape. What it
// shows is made once a round, when somebody first asks.
type exporter struct {
	c     *Collector
	descs map[string]*prometheus.Desc
	pairs pairs
	own   *dto.LabelPair // the service's name, as all series have it

	mu    sync.Mutex
	of    *Round
	found []prometheus.Metric
}

func newExporter(c *Collector, service string) *exporter {
	e := &exporter{c: c, descs: map[string]*prometheus.Desc{}, own: pair(catalogue.ServiceLabel, service)}
	for _, m := range shown() {
		e.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, prometheus.Labels{catalogue.ServiceLabel: service})
	}
	return e
}

// Describe implements [prometheus.Collector].
func (e *exporter) Describe(into chan<- *prometheus.Desc) {
	for _, d := range e.descs {
		into <- d
	}
}

// Collect implements [prometheus.Collector]. What is too old is not shown.
func (e *exporter) Collect(into chan<- prometheus.Metric) {
	r := e.c.Latest()
	if r == nil || e.c.Stale(r) {
		return
	}
	for _, m := range e.series(r) {
		into <- m
	}
}

// Stale says whether rounds have stopped coming since one.
func (c *Collector) Stale(r *Round) bool {
	return c.cfg.Now().Sub(r.At) > staleRounds*(c.cfg.Interval+c.cfg.Timeout)
}

func (e *exporter) series(r *Round) []prometheus.Metric {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of != r {
		e.of, e.pairs = r, pairs{}
		e.found = make([]prometheus.Metric, 0, len(e.found))
		e.brokers(r)
		for _, t := range r.Topics {
			e.topic(t)
		}
		for _, g := range r.Groups {
			if utf8.ValidString(g.Name) { // else no label has it
				e.group(g)
			}
		}
	}
	return e.found
}

// series is one series of a round. Series may share their labels.
type series struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  float64
}

// Desc implements [prometheus.Metric].
func (s *series) Desc() *prometheus.Desc { return s.desc }

// Write implements [prometheus.Metric].
func (s *series) Write(into *dto.Metric) error {
	into.Label, into.Gauge = s.labels, &dto.Gauge{Value: &s.value}
	return nil
}

// pairs are labels with their values, each made once a round.
type pairs map[[2]string]*dto.LabelPair

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// labels are pairs of names and values in the order of names, service included.
func (e *exporter) labels(of ...string) []*dto.LabelPair {
	all := make([]*dto.LabelPair, 0, len(of)/2+1)
	for of := range slices.Chunk(of, 2) {
		key := [2]string(of)
		p := e.pairs[key]
		if p == nil {
			p = pair(key[0], key[1])
			e.pairs[key] = p
		}
		all = append(all, p)
	}
	at := slices.IndexFunc(all, func(p *dto.LabelPair) bool { return p.GetName() > catalogue.ServiceLabel })
	if at < 0 {
		at = len(all)
	}
	return slices.Insert(all, at, e.own)
}

func (e *exporter) add(name string, value float64, labels []*dto.LabelPair) {
	e.found = append(e.found, &series{e.descs[name], labels, value})
}

// addKnown adds a series where its value is known, in the unit given.
func addKnown[T ~int64](e *exporter, name string, v verdicts.Value[T], unit T, labels []*dto.LabelPair) {
	if n, known := v.Get(); known {
		e.add(name, float64(n)/float64(unit), labels)
	}
}

func (e *exporter) brokers(r *Round) {
	e.add(brokersMetric, float64(r.Answering()), e.labels())
	for _, b := range r.Brokers {
		id := strconv.Itoa(int(b.ID))
		e.add(brokerInfo, 1, e.labels(labelAddress, b.Address, labelID, id))
		e.add(brokerAnswers, truth(b.Why == ""), e.labels(labelID, id))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e *exporter) topic(t *Topic) {
	e.add(topicPartitions, float64(len(t.Partitions)), e.labels(labelTopic, t.Name))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		labels := e.labels(labelPartition, strconv.Itoa(int(p.ID)), labelTopic, t.Name)
		addKnown(e, currentOffset, p.End, 1, labels)
		addKnown(e, stableOffset, p.Stable, 1, labels)
		addKnown(e, oldestOffset, p.Oldest, 1, labels)
		e.add(leaderMetric, float64(p.Leader), labels)
		e.add(leaderIsPreferred, truth(len(p.Replicas) > 0 && p.Replicas[0] == p.Leader), labels)
		e.add(replicasMetric, float64(len(p.Replicas)), labels)
		e.add(inSyncReplica, float64(len(p.InSync)), labels)
		e.add(underReplicated, truth(len(p.InSync) < len(p.Replicas)), labels)
	}
}

func (e *exporter) group(g *Group) {
	e.add(groupInfo, 1, e.labels(labelGroup, g.Name, labelState, g.State, labelType, g.Type))
	if g.MembersKnown {
		e.add(groupMembers, float64(len(g.Members)), e.labels(labelGroup, g.Name))
	}
	for len(g.Readings) > 0 { // one topic's after the other's
		end := slices.IndexFunc(g.Readings, func(r *Reading) bool { return r.Topic != g.Readings[0].Topic })
		if end < 0 {
			end = len(g.Readings)
		}
		e.readings(g.Readings[:end])
		g = &Group{Name: g.Name, Readings: g.Readings[end:]}
	}
}

// readings shows what a group reads of one topic.
func (e *exporter) readings(all []*Reading) {
	var lag, offsets sum
	worst := len(verdicts.States()) - 1
	for _, r := range all {
		labels := e.labels(labelGroup, r.Group, labelPartition, strconv.Itoa(int(r.Partition)), labelTopic, r.Topic)
		addKnown(e, groupCurrentOffset, r.Committed, 1, labels)
		addKnown(e, groupLag, r.Lag, 1, labels)
		addKnown(e, groupPurged, r.purged(), 1, labels)
		addKnown(e, groupLagSeconds, noneIsZero(r.Age), time.Second, labels)
		addKnown(e, groupCatchUp, r.Verdict.CatchUp, time.Second, labels)
		addKnown(e, groupSecondsToLoss, r.Verdict.ToLoss, time.Second, labels)
		lag.add(r.Lag)
		offsets.add(r.Committed)
		worst = min(worst, max(0, slices.Index(verdicts.States(), r.Verdict.State)))
	}
	labels := e.labels(labelGroup, all[0].Group, labelTopic, all[0].Topic)
	addKnown(e, groupLagSum, lag.value(), 1, labels)
	addKnown(e, groupOffsetSum, offsets.value(), 1, labels)
	for i, state := range verdicts.States() {
		e.add(groupState, truth(i == worst), e.labels(labelGroup, all[0].Group, labelState, string(state), labelTopic, all[0].Topic))
	}
}

func noneIsZero(age verdicts.Span) verdicts.Span {
	if age.IsNone() {
		return verdicts.Known(time.Duration(0))
	}
	return age
}

// purged is how much was lost, where it is known what the group has not read.
func (r *Reading) purged() verdicts.Number {
	if _, known := r.Lag.Get(); known && r.Lost.IsZero() {
		return verdicts.Known(int64(0))
	}
	return r.Lost
}

// sum is a sum that is unknown as soon as a part of it is.
type sum struct {
	total   int64
	unknown bool
}

func (s *sum) add(n verdicts.Number) {
	value, known := n.Get()
	s.total += value
	s.unknown = s.unknown || !known
}

func (s *sum) value() verdicts.Number {
	if s.unknown {
		return verdicts.Number{}
	}
	return verdicts.Known(s.total)
}
