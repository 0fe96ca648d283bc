// Command produce sends three records, each in a trace, and prints what it counted.
//
//	KAFKA_BROKERS=127.0.0.1:9092 go run ./examples/produce
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func main() {
	if err := run(context.Background(), strings.Split(os.Getenv("KAFKA_BROKERS"), ",")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, brokers []string) (err error) {
	t, err := telemetry.Setup(ctx, telemetry.Config{Service: "produce"})
	if err != nil {
		return err
	}
	defer func() { _ = t.Shutdown(ctx) }() // what a collector does not take is logged
	inst, err := otelkafka.New(otelkafka.WithTelemetry(t), otelkafka.Options{Produces: []string{"orders"}})
	if err != nil {
		return err
	}
	producer, err := otelkafka.NewSyncProducer(brokers, nil, inst)
	if err != nil {
		return err
	}
	defer func() { _ = producer.Close() }()
	for n := range 3 {
		ctx, span := t.TracerProvider().Tracer("produce").Start(ctx, "place an order")
		msg := &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder(fmt.Sprintf(`{"order":%d}`, n))}
		_, offset, err := producer.SendMessage(otelkafka.WithContext(ctx, msg))
		span.End()
		if err != nil {
			return err
		}
		fmt.Printf("sent to offset %d in trace %s\n", offset, span.SpanContext().TraceID())
	}
	return nil
}
