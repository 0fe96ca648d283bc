package otelkafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// Rebalances counts and times the rebalances of one consumer group's member, by cause, and says how many partitions
// it holds: kafka_consumer_rebalances_total, kafka_consumer_rebalance_duration_seconds and
// kafka_consumer_assigned_partitions. Make one for each [sarama.ConsumerGroup]; those of one service add up. All
// methods are safe for concurrent use; a scrape reads memory only.
//
// With an eager strategy, [Rebalances.Watch] sees all there is: each rebalance ends a session and begins another. The
// time is that from the session's end, so the handlers' winding up counts, to the new session's beginning.
//
// With a cooperative strategy the session outlives a rebalance, and sarama tells its handler nothing. Give sarama the
// strategy through [Rebalances.Strategy] too: then every generation that the member joins counts as a rebalance (one
// that takes partitions away has two), and its time is that from asking to join to the answer. Without, rebalances are
// told from the generation when the page is made: counted, all as group_changed, and not timed.
//
// Only the group's leader learns that a topic has more partitions. To the others it is group_changed. The new
// KIP-848 protocol is not sarama's to join.
type Rebalances struct {
	inst          *Instrumentation
	duration      metric.Float64Histogram
	registrations []metric.Registration
	now           func() time.Time

	mu      sync.Mutex
	counts  map[string]int64
	session *memberSession // nil between sessions
	lostAt  time.Time      // when the last session ended, zero unless it ended against the service's will
	hooked  bool           // the strategy tells of each assignment
	joining time.Time      // when a member that has a session asked to join again, zero once it has its answer
	sizes   map[string]int // partitions of each topic, as the leader last saw them
	grown   bool           // the leader has seen another number of them
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
	var err error
	if r.duration, err = inst.instruments.Float64Histogram(telemetry.KafkaConsumerRebalanceDuration); err != nil {
		return nil, fmt.Errorf("watch rebalances: %w", err)
	}
	total, err := inst.instruments.Observe([]string{telemetry.KafkaConsumerRebalancesTotal}, r.observeCounts)
	if err != nil {
		return nil, fmt.Errorf("watch rebalances: %w", err)
	}
	r.registrations = append(r.registrations, total)
	assigned, err := inst.instruments.Int64ObservableSum(telemetry.KafkaConsumerAssignedPartitions, r.observeAssigned)
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

// Setup says that a session begins. It always returns nil, so that it can stand where [OnSetup] wants a function.
// Call it first, for what follows does not belong to the rebalance.
func (r *Rebalances) Setup(session sarama.ConsumerGroupSession) error {
	s := &memberSession{ConsumerGroupSession: session, generation: session.GenerationID()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lostAt.IsZero() {
		r.counts[causeJoined]++
	} else {
		r.duration.Record(context.Background(), r.now().Sub(r.lostAt).Seconds())
	}
	r.session, r.lostAt, r.joining, r.grown = s, time.Time{}, time.Time{}, false
	context.AfterFunc(session.Context(), func() { r.ended(s) })
	return nil
}

// Cleanup says that the session's claims have ended. It always returns nil; see [Rebalances.Setup].
func (r *Rebalances) Cleanup(sarama.ConsumerGroupSession) error {
	r.mu.Lock()
	s := r.session
	r.mu.Unlock()
	if s != nil && s.Context().Err() != nil {
		r.ended(s)
	}
	return nil
}

// ended takes note of a session's end, once.
func (r *Rebalances) ended(s *memberSession) {
	cause := causeOf(context.Cause(s.Context()))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != s {
		return
	}
	r.catchUp()
	if cause == "" && !r.joining.IsZero() {
		cause = causeSessionLost // sarama gives up a session that fails to join again without a cause
	}
	r.session = nil
	if cause != "" {
		r.counts[cause]++
		r.lostAt = r.now()
	}
}

// catchUp counts the generations that a session has gone through where the strategy does not tell.
func (r *Rebalances) catchUp() {
	if r.session == nil || r.hooked {
		return
	}
	generation := r.session.GenerationID()
	switch passed := generation - r.session.generation; {
	case passed > 0:
		r.counts[causeGroupChanged] += int64(passed)
	case passed < 0: // the coordinator has lost its memory and counts anew
		r.counts[causeGroupChanged]++
	}
	r.session.generation = generation
}
