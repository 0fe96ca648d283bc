// Command consume reads records in a group, with a handler of its own that takes many at once, and serves /metrics meanwhile.
// It ends by Ctrl+C, or after -records.
//
//	KAFKA_BROKERS=127.0.0.1:9092 go run ./examples/consume
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func main() {
	records := flag.Int64("records", 0, "end after that many records; 0 is never")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, stop, strings.Split(os.Getenv("KAFKA_BROKERS"), ","), *records)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, stop func(), brokers []string, records int64) error {
	t, err := telemetry.Setup(ctx, telemetry.Config{Service: "consume"})
	if err != nil {
		return err
	}
	defer func() { _ = t.Shutdown(ctx) }() // ctx has ended by then: it has five seconds
	page, err := serve(ctx, t)
	if err != nil {
		return err
	}
	defer func() { _ = page.Close() }()
	inst, err := otelkafka.New(otelkafka.WithTelemetry(t), otelkafka.Options{ConsumerGroup: "billing", Consumes: []string{"orders"}})
	if err != nil {
		return err
	}
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := otelkafka.NewConsumerGroup(brokers, "billing", config, inst)
	if err != nil {
		return err
	}
	defer func() { _ = group.Close() }()
	h := &handler{inst: inst, stop: stop, left: records}
	for ctx.Err() == nil { // Consume returns at each rebalance
		if err := group.Consume(ctx, []string{"orders"}, h); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// serve has the page on a port of its own.
func serve(ctx context.Context, t *telemetry.Telemetry) (*http.Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	fmt.Printf("metrics are at http://%s/metrics\n", listener.Addr())
	server := &http.Server{Handler: t.MetricsHandler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	return server, nil
}

// handler is a handler of one's own.
type handler struct {
	inst *otelkafka.Instrumentation
	stop func()
	left int64
}

func (*handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for batch := range h.inst.Batches(session, claim, 500) {
		fmt.Printf("%d records of partition %d\n", len(batch.Messages), claim.Partition())
		session.MarkMessage(batch.Messages[len(batch.Messages)-1], "")
		if atomic.AddInt64(&h.left, -int64(len(batch.Messages))) == 0 {
			h.stop()
		}
	}
	return nil
}
