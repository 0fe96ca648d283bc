package otelkafka

import (
	"context"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// underway is what is counted of one topic, and what of it has begun and not ended: records in the hands of handlers, and on
// their way to Kafka.
type underway struct {
	set                                    metric.MeasurementOption // the topic
	produced, consumed, sendFailed, failed count
	flying                                 atomic.Int64 // records given to a producer that Kafka has not answered
	produces                               atomic.Bool  // the topic is one that is produced to
	inHand
}

// count is a counter that instruments read: each record counts, and an instrument's own way there takes many times as long.
type count struct {
	n     atomic.Int64
	known atomic.Bool // it has been counted, if only to 0
}

func (c *count) add(n int64) {
	if n > 0 {
		c.n.Add(n)
	}
	if !c.known.Load() {
		c.known.Store(true)
	}
}

// takeOff notes a record that is given to a producer.
func (u *underway) takeOff() {
	u.flying.Add(1)
	if !u.produces.Load() {
		u.produces.Store(true)
	}
}

// land notes a record of which nothing more is expected.
func (u *underway) land() { u.flying.Add(-1) }

// inHand is what handlers work on. A place is used again when its work has ended, so that nothing is allocated.
type inHand struct {
	epoch  time.Time // from which places count
	mu     sync.Mutex
	places []*place // nil for a topic that nobody consumes
	free   []*place
}

// place is that of one record, or one batch, at a time. Who has it writes it without a lock: a loop over a claim's records
// keeps one as long as it runs.
type place struct {
	records atomic.Int64
	since   atomic.Int64 // nanoseconds after the epoch
}

// take returns a place, which is to be given back by leave.
func (h *inHand) take() *place {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := len(h.free) - 1; last >= 0 {
		taken := h.free[last]
		h.free = h.free[:last]
		return taken
	}
	taken := &place{}
	h.places = append(h.places, taken)
	return taken
}

// leave gives a place back.
func (h *inHand) leave(taken *place) {
	taken.end()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free = append(h.free, taken)
}

// begin notes the begin of work at a place, and end its end.
func (h *inHand) begin(at *place, since time.Time, records int) {
	at.since.Store(int64(since.Sub(h.epoch)))
	at.records.Store(int64(records))
}

func (p *place) end() { p.records.Store(0) }

// state returns how many records are in hand, and since when the first; false for a topic that nobody consumes.
func (h *inHand) state() (records int64, oldest time.Time, consumes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := int64(math.MaxInt64)
	for _, p := range h.places {
		if n := p.records.Load(); n != 0 {
			records += n
			first = min(first, p.since.Load())
		}
	}
	if records != 0 {
		oldest = h.epoch.Add(time.Duration(first))
	}
	return records, oldest, h.places != nil
}

// loop is what a loop over the records of one topic keeps from record to record, so that it asks nobody else for it.
type loop struct {
	topic   string
	options *topicOptions // nil before the first record
	place   *place
}

// at has the loop be at a record of a topic.
func (l *loop) at(i *Instrumentation, topic string) (*topicOptions, *place) {
	if l.options == nil || topic != l.topic {
		l.leave()
		l.topic, l.options = topic, i.topics.get(topic)
		l.place = l.options.take()
	}
	return l.options, l.place
}

// leave gives the place back when the loop ends.
func (l *loop) leave() {
	if l.options != nil {
		l.options.leave(l.place)
		l.options = nil
	}
}

// underways keeps one for each label of topics.
type underways struct {
	mu    sync.Mutex
	known map[string]*underway
}

func (u *underways) of(label string) *underway {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known == nil {
		u.known = make(map[string]*underway)
	}
	if u.known[label] == nil {
		u.known[label] = &underway{
			set: metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", label))), inHand: inHand{epoch: time.Now()},
		}
	}
	return u.known[label]
}

func (u *underways) all() map[string]*underway {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.known)
}

// observeUnderway shows what is in hand and on its way.
func (i *Instrumentation) observeUnderway() error {
	_, err := i.instruments.Int64ObservableSum(catalogue.KafkaConsumerRecordsInHand, func(_ context.Context, o metric.Int64Observer) error {
		for topic, u := range i.topics.underway.all() {
			if records, _, consumes := u.state(); consumes {
				o.Observe(records, i.topics.groupedSet(topic))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = i.instruments.Float64ObservableGauge(catalogue.KafkaConsumerOldestInHand, func(_ context.Context, o metric.Float64Observer) error {
		now := time.Now()
		for topic, u := range i.topics.underway.all() {
			records, oldest, consumes := u.state()
			switch {
			case records > 0:
				o.Observe(max(0, now.Sub(oldest).Seconds()), i.topics.groupedSet(topic))
			case consumes:
				o.Observe(0, i.topics.groupedSet(topic))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = i.instruments.Int64ObservableSum(catalogue.KafkaProducerRecordsInFlight, func(_ context.Context, o metric.Int64Observer) error {
		for _, u := range i.topics.underway.all() {
			if u.produces.Load() {
				o.Observe(u.flying.Load(), u.set)
			}
		}
		return nil
	})
	return err
}

// observeCounts shows what was counted.
func (i *Instrumentation) observeCounts() error {
	names := []string{
		catalogue.KafkaMessagesProducedTotal, catalogue.KafkaMessagesConsumedTotal,
		catalogue.KafkaSendFailuresTotal, catalogue.KafkaProcessFailuresTotal,
	}
	_, err := i.instruments.Observe(names, func(_ context.Context, o catalogue.Observation) error {
		for _, u := range i.topics.underway.all() {
			for n, counted := range [...]*count{&u.produced, &u.consumed, &u.sendFailed, &u.failed} {
				if counted.known.Load() {
					o.Counter(names[n], counted.n.Load(), u.set)
				}
			}
		}
		return nil
	})
	return err
}
