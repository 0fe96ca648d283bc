//go:build unix && integration

package kafka_test

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// lagPoll is how often lag is asked for here.
const lagPoll = 100 * time.Millisecond

// tracker is a service's lag gauges, fed by a client of their own.
type tracker struct {
	*otelkafka.Lag
	page *telemetrytest.Recorder
	stop func()
}

func newTracker(t *testing.T, config *sarama.Config, address string) *tracker {
	t.Helper()
	page := telemetrytest.New(t, "lag", nil)
	inst, err := otelkafka.New(page.Telemetry, otelkafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client, err := sarama.NewClient([]string{address}, config)
	if err != nil {
		t.Fatal(err)
	}
	lag, err := otelkafka.NewLag(inst, client, lagPoll)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { lag.Run(ctx) })
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
		_ = client.Close()
	})
	t.Cleanup(stop)
	return &tracker{Lag: lag, page: page, stop: stop}
}

// series returns a gauge's values on the page, by partition.
func (l *tracker) series(t *testing.T, name string) map[int32]float64 {
	t.Helper()
	families, err := l.page.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int32]float64)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "partition" {
					partition, err := strconv.Atoi(label.GetValue())
					if err != nil {
						t.Fatal(err)
					}
					found[int32(partition)] = m.GetGauge().GetValue()
				}
			}
		}
	}
	return found
}

func (l *tracker) records(t *testing.T) map[int32]float64 {
	t.Helper()
	return l.series(t, telemetry.KafkaConsumerLag)
}

func (l *tracker) seconds(t *testing.T) map[int32]float64 {
	t.Helper()
	return l.series(t, telemetry.KafkaConsumerLagSeconds)
}

// member is one instance of a consumer group. It has records in hand as soon as they come and is done with one for
// every permit; a closed channel is a permit for all.
type member struct {
	*tracker
	group   sarama.ConsumerGroup
	permits chan struct{}
	leave   func()
}

func join(t *testing.T, config *sarama.Config, address, group, topic string) *member {
	t.Helper()
	consumers, err := sarama.NewConsumerGroup([]string{address}, group, config)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{tracker: newTracker(t, config, address), group: consumers, permits: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		for ctx.Err() == nil {
			if err := consumers.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				t.Logf("consume %s: %v", topic, err)
			}
		}
	})
	m.leave = sync.OnceFunc(func() {
		cancel()
		consuming.Wait()
		if err := consumers.Close(); err != nil {
			t.Errorf("leave group %s: %v", group, err)
		}
	})
	t.Cleanup(m.leave)
	return m
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim follows its partition's lag as a service would, whatever the way of rebalancing.
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	topic, partition := claim.Topic(), claim.Partition()
	m.Assign(topic, partition, claim.InitialOffset())
	defer m.Revoke(topic, partition)
	var inHand []*sarama.ConsumerMessage
	for {
		permits := m.permits
		if len(inHand) == 0 {
			permits = nil
		}
		select {
		case msg, open := <-claim.Messages():
			if !open {
				return nil
			}
			if inHand = append(inHand, msg); len(inHand) == 1 {
				m.Advance(topic, partition, msg.Offset, msg.Timestamp)
			}
		case <-permits:
			session.MarkMessage(inHand[0], "")
			session.Commit()
			next, at := inHand[0].Offset+1, time.Time{}
			if inHand = inHand[1:]; len(inHand) > 0 {
				next, at = inHand[0].Offset, inHand[0].Timestamp
			}
			m.Advance(topic, partition, next, at)
		}
	}
}

// eventually tries until a condition holds.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline, ticker := time.After(patience), time.NewTicker(20*time.Millisecond)
	defer ticker.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// same compares what partitions have, with an error for the difference.
func same(got, want map[int32]float64) error {
	if !maps.Equal(got, want) {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}
