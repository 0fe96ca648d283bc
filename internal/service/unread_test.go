package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// logs of seven records each.
type logs struct{}

func (logs) Offsets(_ context.Context, at int64, parts []otelkafka.TopicPartition) (map[otelkafka.TopicPartition]int64, error) {
	offsets := map[otelkafka.TopicPartition]int64{}
	for _, p := range parts {
		offsets[p] = map[int64]int64{-1: 7, -2: 0}[at]
	}
	return offsets, nil
}

// group is what Kafka says of a consumer group.
type group struct {
	mu      sync.Mutex // guards the rest
	unread  []record.Partition
	unknown bool
	err     error
}

func (g *group) set(unknown bool, err error, unread ...record.Partition) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unread, g.unknown, g.err = unread, unknown, err
}

func (g *group) look() ([]record.Partition, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unread, !g.unknown, g.err
}

// Partitions that nobody of ours reads are seen, with what waits in them, within
// half a minute of their being there, and until they are read.
func TestUnreadPartitionsAreSeenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := telemetrytest.New(t, "shop", slices.Concat(Common(), ConsumerCatalogue()))
		inst, err := otelkafka.New(otelkafka.WithTelemetry(r.Telemetry), otelkafka.Options{ConsumerGroup: "shop-svc", Consumes: []string{"sales", "returns"}})
		if err != nil {
			t.Fatal(err)
		}
		lag, err := otelkafka.NewLagFrom(inst, logs{}, otelkafka.DefaultLagInterval)
		if err != nil {
			t.Fatal(err)
		}
		store, err := storage.Open(t.Context(), "sqlite:"+t.TempDir(), "shop", nil)
		if err != nil {
			t.Fatal(err)
		}
		b := &Base{
			Definition: Definition{Name: "shop", Group: "shop-svc", Consumes: []string{"sales", "returns"}},
			Stack:      &lifecycle.Stack{}, Telemetry: r.Telemetry, Store: store, Log: r.Logger(),
		}
		g := &group{}
		if err := (&unread{b: b, lag: lag, find: g.look}).watch(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(b.Stack.Stop(context.Background()), store.Close()); err != nil {
				t.Error(err)
			}
		}()
		want := func(when string, sales, returns float64) {
			t.Helper()
			<-time.After(30 * time.Second)
			synctest.Wait()
			for topic, n := range map[string]float64{"sales": sales, "returns": returns} {
				if got := r.Metric(unreadMetric, map[string]string{"topic": topic}); got != n {
					t.Errorf("%s: %v partitions of %s are unread, want %v", when, got, topic, n)
				}
			}
			if got := r.Series(catalogue.KafkaConsumerLag, map[string]string{}); float64(got) != sales+returns {
				t.Errorf("%s: lag of %v partitions, want %v", when, got, sales+returns)
			} else if got > 0 && r.Metric(catalogue.KafkaConsumerLag, nil) != 7*float64(got) {
				t.Errorf("%s: not all records wait", when)
			}
		}
		want("at the start", 0, 0)
		added := []record.Partition{{Topic: "sales", ID: 3}, {Topic: "sales", ID: 4}, {Topic: "returns", ID: 3}}
		g.set(false, nil, added...)
		want("with three more", 2, 1)
		g.set(true, nil)
		want("during a rebalance", 2, 1)
		g.set(false, errors.New("away"))
		want("without Kafka", 2, 1)
		g.set(false, nil, added[1])
		want("with one left", 1, 0)
		g.set(false, nil)
		want("in the end", 0, 0)
		said := map[string]int{}
		for _, line := range r.Logs() {
			said[fmt.Sprint(line["level"], " ", line["msg"])]++
		}
		if said["WARN no instance of this service reads a partition"] != 3 || said["INFO the partition is read again"] != 3 {
			t.Errorf("each of three partitions is told once, and that it is read again: %v", said)
		}
		r.CheckCatalogue()
	})
}
