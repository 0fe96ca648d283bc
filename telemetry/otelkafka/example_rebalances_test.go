package otelkafka_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// A consumer group's member whose rebalances are counted and timed, and whose client's own figures are on the page. It
// asks twice to join: Kafka refuses a new member's first request, to give it an id.
func Example_rebalances() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	t, err := telemetry.Setup(context.Background(), telemetry.Config{Service: "shop", LogWriter: io.Discard})
	if err != nil {
		log.Fatal(err)
	}
	inst, err := otelkafka.New(t, otelkafka.Options{ConsumerGroup: "shop", Consumes: []string{"orders"}})
	if err != nil {
		log.Fatal(err)
	}
	rebalances, err := otelkafka.NewRebalances(inst)
	if err != nil {
		log.Fatal(err)
	}

	config := sarama.NewConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		rebalances.Strategy(sarama.NewBalanceStrategyCooperativeSticky()),
	}
	unregister, err := otelkafka.ObserveSarama(inst, "consumer", config.MetricRegistry)
	if err != nil {
		log.Fatal(err)
	}
	group, err := sarama.NewConsumerGroup(cluster.ListenAddrs(), "shop", config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	look := func(sarama.ConsumerGroupSession) error {
		show(t, "kafka_consumer_assigned_partitions{", `cause="joined"`, "kafka_client_group_joins_total{")
		stop() // a service goes on, calling Consume in a loop
		return nil
	}
	handle := func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error { return nil }
	handler := otelkafka.NewHandler(inst, handle, otelkafka.OnSetup(look))
	if err := group.Consume(ctx, []string{"orders"}, rebalances.Watch(handler)); err != nil {
		log.Fatal(err)
	}
	for _, end := range []func() error{group.Close, unregister, rebalances.Close} {
		if err := end(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// kafka_client_group_joins_total{client="consumer",service="shop"} 2
	// kafka_consumer_assigned_partitions{service="shop",topic="orders"} 3
	// kafka_consumer_rebalances_total{cause="joined",service="shop"} 1
}

// show prints the lines of /metrics that have one of the texts.
func show(t *telemetry.Telemetry, texts ...string) {
	answer := httptest.NewRecorder()
	t.MetricsHandler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		for _, text := range texts {
			if strings.Contains(line, text) && !strings.HasPrefix(line, "#") {
				fmt.Print(line)
			}
		}
	}
}
