//go:build integration

package brokertest

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// A member that goes through many rebalances, a thousand unless REBALANCES says otherwise, each of its sessions ended in another way and with records fetched ahead, keeps
// nothing of them: no goroutine, no open span, no series, and nothing in hand.
func TestAThousandRebalancesLeaveNothing(t *testing.T) {
	sessions := 1000
	if text := os.Getenv("REBALANCES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 100 {
			t.Fatalf("REBALANCES=%s: want a hundred or more", text)
		}
		sessions = n
	}
	leaks.None(t)
	cluster := wrapCluster(t)
	fill(t, cluster, sessions)
	r, inst := newInstrumentation(t, otelkafka.Options{ConsumerGroup: "g", Consumes: []string{"out"}})
	group, err := otelkafka.NewConsumerGroup(cluster.ListenAddrs(), "g", wrapConfig(), inst)
	if err != nil {
		t.Fatal(err)
	}
	once := errors.New("once")
	var after10 int
	for n := range sessions {
		ctx, cancel := context.WithCancel(t.Context())
		handle := func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error {
			if n%2 == 0 {
				cancel() // as a shut-down does
				return nil
			}
			return once // ends the claim, and so the session
		}
		if err := group.Consume(ctx, []string{"out"}, otelkafka.NewHandler(inst, handle)); err != nil && ctx.Err() == nil {
			t.Fatalf("session %d: %v", n, err)
		}
		cancel()
		if n == 10 {
			after10 = runtime.NumGoroutine()
		}
		if n%100 == 99 {
			t.Logf("%d sessions, %d goroutines", n+1, runtime.NumGoroutine())
		}
	}
	if now := runtime.NumGoroutine(); now > after10+10 {
		t.Errorf("%d goroutines after %d sessions, %d after 10", now, sessions, after10)
	}
	for name, most := range map[string]int{catalogue.KafkaConsumerLag: 0, catalogue.KafkaConsumerRecordsInHand: 1} {
		if got := r.Series(name, nil); got > most {
			t.Errorf("%d series of %s between sessions, want %d", got, name, most)
		}
	}
	if got := r.Metric(catalogue.KafkaConsumerRecordsInHand, nil); got != 0 {
		t.Errorf("%v records are in hand", got)
	}
	timed := r.Metric(catalogue.KafkaMessageProcessingDuration, nil)
	if got := len(r.Spans()); float64(got) != timed || got < sessions {
		t.Errorf("%d spans ended of %v records handled", got, timed)
	}
	if got := r.Metric(catalogue.KafkaConsumerRebalancesTotal, nil); got < float64(sessions) {
		t.Errorf("%v rebalances, want %d", got, sessions)
	}
	if err := group.Close(); err != nil {
		t.Error(err)
	}
}
