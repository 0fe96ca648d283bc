package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// Rebalances counts and times the rebalances of one consumer group's member, by cause, and says how many partitions
// it holds: kafka_consumer_rebalances_total, kafka_consumer_rebalance_duration_seconds and
// kafka_consumer_assigned_partitions. The first two have the label group where [Options.ConsumerGroup] names one. Make one for
// each [sarama.ConsumerGroup]; those of one group in a service add up. All methods are safe for concurrent use; a scrape
// reads memory only.
//
// With an eager strategy, [Rebalances.Watch] sees all there is: each rebalance ends a session and begins another. The
// time is that from the session's end, so the handlers' winding up counts, to the new session's beginning.
//
// With a cooperative strategy the session outlives a rebalance, and its handler learns nothing of it. Give sarama the
// strategy through [Rebalances.Strategy] too: then every generation that the member joins counts as a rebalance (one
// that takes partitions away has two), and its time is that from its request to join to the broker's response. Without,
// rebalances are counted by the generation when the page is made, all as group_changed, and not timed.
//
// Only the group's leader learns that a topic has more partitions. To the others it is group_changed. The new
// KIP-848 protocol is not sarama's to join.
type Rebalances struct {
	inst          *Instrumentation
	duration      metric.Float64Histogram
	group         []metric.RecordOption
	registrations []metric.Registration
	now           func() time.Time

	mu       sync.Mutex
	counts   map[string]int64
	session  *memberSession // nil between sessions
	lostAt   time.Time      // when the last session ended, zero unless it ended against the service's will
	notified bool           // sarama notifies the strategy of each assignment, and so this
	joining  time.Time      // when a member that has a session began to join again, zero once it has joined
	sizes    map[string]int // partitions of each topic, as the leader last saw them
	resized  bool           // the leader has seen another number of them
}

// memberSession is a session that goes on.
type memberSession struct {
	sarama.ConsumerGroupSession
	generation int32
}

// NewRebalances returns the instruments for one member. All causes are exported as zero from the start, as are the
// partitions of the topics that the service consumes.
func NewRebalances(inst *Instrumentation) (*Rebalances, error) {
	r := &Rebalances{inst: inst, now: time.Now, counts: make(map[string]int64)}
	r.group = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(inst.groupLabel...))}
	var err error
	if r.duration, err = inst.instruments.Float64Histogram(catalogue.KafkaConsumerRebalanceDuration); err != nil {
		return nil, fmt.Errorf("watch rebalances: %w", err)
	}
	total, err := inst.instruments.Observe([]string{catalogue.KafkaConsumerRebalancesTotal}, r.observeCounts)
	if err != nil {
		return nil, fmt.Errorf("watch rebalances: %w", err)
	}
	r.registrations = append(r.registrations, total)
	assigned, err := inst.instruments.Int64ObservableSum(catalogue.KafkaConsumerAssignedPartitions, r.observeAssigned)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch rebalances: %w", err), r.Close())
	}
	r.registrations = append(r.registrations, assigned)
	return r, nil
}

// Close takes the counters and the gauge off the page. Close the consumer group first.
func (r *Rebalances) Close() error {
	var errs []error
	for _, registration := range r.registrations {
		errs = append(errs, registration.Unregister())
	}
	return errors.Join(errs...)
}

// Setup takes note of a session that begins. It always returns nil, so that it can stand where [OnSetup] wants a function.
// Call it first, for what follows does not belong to the rebalance.
func (r *Rebalances) Setup(session sarama.ConsumerGroupSession) error {
	s := &memberSession{ConsumerGroupSession: session, generation: session.GenerationID()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lostAt.IsZero() {
		r.counts[causeJoined]++
	} else {
		r.duration.Record(context.Background(), r.now().Sub(r.lostAt).Seconds(), r.group...)
	}
	r.session, r.lostAt, r.joining, r.resized = s, time.Time{}, time.Time{}, false
	context.AfterFunc(session.Context(), func() { r.endSession(s) })
	return nil
}

// Cleanup takes note that the session's claims have ended. It always returns nil; see [Rebalances.Setup].
func (r *Rebalances) Cleanup(sarama.ConsumerGroupSession) error {
	r.mu.Lock()
	s := r.session
	r.mu.Unlock()
	if s != nil && s.Context().Err() != nil {
		r.endSession(s)
	}
	return nil
}

// endSession takes note of a session's end, once.
func (r *Rebalances) endSession(s *memberSession) {
	cause := causeOf(context.Cause(s.Context()))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != s {
		return
	}
	r.countGenerations()
	if cause == "" && !r.joining.IsZero() {
		cause = causeSessionLost // sarama gives up a session that fails to join again without a cause
	}
	r.session = nil
	if cause != "" {
		r.counts[cause]++
		r.lostAt = r.now()
	}
}

// countGenerations counts the generations that a session has gone through where sarama notifies no strategy.
func (r *Rebalances) countGenerations() {
	if r.session == nil || r.notified {
		return
	}
	generation := r.session.GenerationID()
	switch passed := generation - r.session.generation; {
	case passed > 0:
		r.counts[causeGroupChanged] += int64(passed)
	case passed < 0: // the coordinator has lost its memory and counts from the start
		r.counts[causeGroupChanged]++
	}
	r.session.generation = generation
}

// Watch returns the handler with every session seen as it begins and ends. It needs no calls of [Rebalances.Setup]
// and [Rebalances.Cleanup].
func (r *Rebalances) Watch(handler sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return watchedHandler{handler, r}
}

type watchedHandler struct {
	sarama.ConsumerGroupHandler
	rebalances *Rebalances
}

// Setup implements [sarama.ConsumerGroupHandler].
func (h watchedHandler) Setup(session sarama.ConsumerGroupSession) error {
	_ = h.rebalances.Setup(session) // has no error
	return h.ConsumerGroupHandler.Setup(session)
}

// Cleanup implements [sarama.ConsumerGroupHandler].
func (h watchedHandler) Cleanup(session sarama.ConsumerGroupSession) error {
	_ = h.rebalances.Cleanup(session) // has no error
	return h.ConsumerGroupHandler.Cleanup(session)
}

// Strategy returns the strategy with each join and each assignment counted and timed. Give it to sarama in place of a cooperative
// one, in Config.Consumer.Group.Rebalance.GroupStrategies; what it decides does not change. A strategy that does not
// take part in sarama's joins and assignments, as the eager ones do not, is returned as it is: there is nothing to see.
func (r *Rebalances) Strategy(strategy sarama.BalanceStrategy) sarama.BalanceStrategy {
	if s, ok := strategy.(notifiedStrategy); ok {
		return watchedStrategy{s, r}
	}
	return strategy
}

// notifiedStrategy is what sarama's cooperative strategy is: sarama calls it just before each request to join and
// just after each assignment.
type notifiedStrategy interface {
	sarama.RebalanceProtocolBalanceStrategy
	sarama.SubscriptionUserDataBalanceStrategy
	sarama.OnAssignmentBalanceStrategy
}

type watchedStrategy struct {
	notifiedStrategy
	rebalances *Rebalances
}

// SubscriptionUserData implements [sarama.SubscriptionUserDataBalanceStrategy].
func (s watchedStrategy) SubscriptionUserData(topics []string) ([]byte, error) {
	s.rebalances.beginJoin()
	return s.notifiedStrategy.SubscriptionUserData(topics)
}

// Plan implements [sarama.BalanceStrategy]; sarama calls it where this member leads the group.
func (s watchedStrategy) Plan(
	members map[string]sarama.ConsumerGroupMemberMetadata, topics map[string][]int32,
) (sarama.BalanceStrategyPlan, error) {
	s.rebalances.compareSizes(topics)
	return s.notifiedStrategy.Plan(members, topics)
}

// OnAssignment implements [sarama.OnAssignmentBalanceStrategy].
func (s watchedStrategy) OnAssignment(assignment *sarama.ConsumerGroupMemberAssignment, generation int32) {
	s.notifiedStrategy.OnAssignment(assignment, generation)
	s.rebalances.countAssignment(generation)
}

// beginJoin notes that a member which has a session begins to join again. Further tries belong to the same rebalance.
func (r *Rebalances) beginJoin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil && r.joining.IsZero() {
		r.joining = r.now()
	}
}

// compareSizes compares the topics' sizes with those of the last plan.
func (r *Rebalances) compareSizes(topics map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sizes := make(map[string]int, len(topics))
	for topic, partitions := range topics {
		sizes[topic] = len(partitions)
		if before, known := r.sizes[topic]; known && before != len(partitions) {
			r.resized = true
		}
	}
	r.sizes = sizes
}

// countAssignment counts and times a rebalance within a session. That of a session's beginning is Setup's to count.
func (r *Rebalances) countAssignment(generation int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notified = true
	if r.session == nil {
		return
	}
	cause := causeGroupChanged
	if r.resized {
		cause = causePartitionsChanged
	}
	r.counts[cause]++
	if !r.joining.IsZero() {
		r.duration.Record(context.Background(), r.now().Sub(r.joining).Seconds(), r.group...)
	}
	r.session.generation, r.joining, r.resized = generation, time.Time{}, false
}

// Values of the label cause of kafka_consumer_rebalances_total.
const (
	causeJoined            = "joined"             // the member began: it had no session, or ended the last by itself
	causeGroupChanged      = "group_changed"      // another member came, went or was lost, or changed its topics
	causePartitionsChanged = "partitions_changed" // a topic has more partitions; seen by the group's leader
	causeSessionLost       = "session_lost"       // the coordinator no longer knew this member
	causeCoordinatorLost   = "coordinator_lost"   // heartbeats failed: the coordinator was away
	causeRevocationTimeout = "revocation_timeout" // a handler did not let a revoked partition go in time
	causeClaimExited       = "claim_exited"       // a handler gave up a partition by returning
)

func causes() []string {
	return []string{
		causeJoined, causeGroupChanged, causePartitionsChanged, causeSessionLost, causeCoordinatorLost,
		causeRevocationTimeout, causeClaimExited, catalogue.LabelOther,
	}
}

// causeOf names the cause of a session's end, or returns "" where the service itself ended it: by the context of
// Consume, whatever its cause, or by closing the group.
func causeOf(err error) string {
	var code sarama.KError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.Is(err, sarama.ErrRebalanceInProgress):
		return causeGroupChanged
	case errors.Is(err, sarama.ErrSessionPartitionCountChanged):
		return causePartitionsChanged
	case errors.Is(err, sarama.ErrRebalanceTimedOut):
		return causeRevocationTimeout
	case errors.Is(err, sarama.ErrSessionConsumeClaimExited):
		return causeClaimExited
	case isAny(err, sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrFencedInstancedId):
		return causeSessionLost
	case isConnectionFailure(err):
		return causeCoordinatorLost
	case errors.As(err, &code):
		return catalogue.LabelOther
	default:
		return ""
	}
}

// isConnectionFailure recognises what sarama's heartbeats end with where the coordinator does not respond.
func isConnectionFailure(err error) bool {
	var network net.Error
	var malformed sarama.PacketDecodingError
	return errors.As(err, &network) || errors.As(err, &malformed) || isAny(err,
		sarama.ErrSessionHeartbeatFailed, sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrOutOfBrokers, sarama.ErrNotConnected, sarama.ErrBrokerNotFound, sarama.ErrIncompleteResponse,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed)
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func (r *Rebalances) observeCounts(_ context.Context, o catalogue.Observation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countGenerations()
	for _, cause := range causes() {
		labels := append(slices.Clip(r.inst.groupLabel), attribute.String("cause", cause))
		set := metric.WithAttributeSet(attribute.NewSet(labels...))
		o.Counter(catalogue.KafkaConsumerRebalancesTotal, r.counts[cause], set)
	}
	return nil
}

// observeAssigned reads the claims where they are kept: a cooperative session changes them as it goes on.
func (r *Rebalances) observeAssigned(_ context.Context, o metric.Int64Observer) error {
	r.mu.Lock()
	session := r.session
	r.mu.Unlock()
	assigned := make(map[string]int64)
	for _, topic := range r.inst.options.Consumes {
		assigned[r.inst.topics.get(topic).label] = 0
	}
	if session != nil {
		for topic, partitions := range session.Claims() {
			assigned[r.inst.topics.get(topic).label] += int64(len(partitions))
		}
	}
	for topic, n := range assigned {
		o.Observe(n, metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic))))
	}
	return nil
}
