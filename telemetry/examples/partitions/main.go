// Command partitions reads one partition without a group, with OpenTelemetry's global providers, and ends after three records.
//
//	KAFKA_BROKERS=127.0.0.1:9092 go run ./examples/partitions
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func main() {
	if err := run(context.Background(), strings.Split(os.Getenv("KAFKA_BROKERS"), ",")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, brokers []string) error {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // the application has set up its providers, too
	inst, err := otelkafka.New(otelkafka.Options{Consumes: []string{"orders"}})
	if err != nil {
		return err
	}
	consumer, err := otelkafka.NewConsumer(brokers, nil, inst)
	if err != nil {
		return err
	}
	defer func() { _ = consumer.Close() }()
	partition, err := consumer.Partition("orders", 0, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer func() { _ = partition.Close() }()
	seen := 0
	for record := range partition.Records(ctx) {
		fmt.Printf("offset %d, trace %s\n", record.Offset, trace.SpanContextFromContext(record.Context()).TraceID())
		if seen++; seen == 3 {
			break
		}
	}
	return nil
}
