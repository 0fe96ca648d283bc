package otelkafka

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// underway is what of one topic has begun and not ended: records in the hands of handlers, and on their way to Kafka.
type underway struct {
	flying   atomic.Int64 // records given to a producer that Kafka has not answered
	produces atomic.Bool  // the topic is one that is produced to
	inHand
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
	mu       sync.Mutex
	consumes bool
	work     []work
	free     []int
}

// work is one record, or one batch; the zero value is a free place.
type work struct {
	since   time.Time
	records int64
}

// take notes the begin of work, and returns its place.
func (h *inHand) take(since time.Time, records int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.consumes = true
	begun := work{since, int64(records)}
	if last := len(h.free) - 1; last >= 0 {
		place := h.free[last]
		h.free, h.work[place] = h.free[:last], begun
		return place
	}
	h.work = append(h.work, begun)
	return len(h.work) - 1
}

// leave notes the end of the work that began last at that place.
func (h *inHand) leave(place int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.work[place].records != 0 {
		h.work[place] = work{}
		h.free = append(h.free, place)
	}
}

// state returns how many records are in hand, and since when the first; false for a topic that nobody consumes.
func (h *inHand) state() (records int64, oldest time.Time, consumes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.work {
		records += w.records
		if w.records != 0 && (oldest.IsZero() || w.since.Before(oldest)) {
			oldest = w.since
		}
	}
	return records, oldest, h.consumes
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
		u.known[label] = &underway{}
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
		for topic, u := range i.topics.underway.all() {
			if u.produces.Load() {
				o.Observe(u.flying.Load(), metric.WithAttributeSet(attribute.NewSet(attribute.String("topic", topic))))
			}
		}
		return nil
	})
	return err
}
