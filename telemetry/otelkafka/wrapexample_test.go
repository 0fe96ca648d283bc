package otelkafka_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// shop returns a service's instrumentation, and its spans as they end.
func shop() (*otelkafka.Instrumentation, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "shop", LogWriter: io.Discard, SpanProcessors: []trace.SpanProcessor{spans},
	})
	if err != nil {
		log.Fatal(err)
	}
	inst, err := otelkafka.New(tel, otelkafka.Options{
		ConsumerGroup: "shop-svc", Produces: []string{"orders.created"}, Consumes: []string{"orders.created"},
	})
	if err != nil {
		log.Fatal(err)
	}
	return inst, spans
}

func printSpans(spans *tracetest.SpanRecorder) {
	for _, span := range spans.Ended() {
		if kind := span.Status().Description; kind != "" {
			fmt.Println(span.Name(), "failed:", kind)
			continue
		}
		fmt.Println(span.Name())
	}
}

// reporter stands in for a test.
type reporter struct{}

func (reporter) Errorf(format string, args ...any) { log.Fatalf(format, args...) }

func ExampleWrapSyncProducer() {
	inst, spans := shop()
	sent := mocks.NewSyncProducer(reporter{}, nil) // in a service, sarama.NewSyncProducer
	sent.ExpectSendMessageAndSucceed()
	sent.ExpectSendMessageAndFail(sarama.ErrNotEnoughReplicas)

	producer := otelkafka.WrapSyncProducer(sent, inst)
	for range 2 {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "orders.created", Value: sarama.StringEncoder("{}")})
		fmt.Println("error:", err)
	}
	printSpans(spans)
	// Output:
	// error: <nil>
	// error: kafka server: Messages are rejected since there are fewer in-sync replicas than required
	// send orders.created
	// send orders.created failed: kafka.19
}

func ExampleWithContext() {
	inst, spans := shop()
	sent := mocks.NewSyncProducer(reporter{}, nil)
	sent.ExpectSendMessageAndSucceed()
	producer := otelkafka.WrapSyncProducer(sent, inst)

	ctx, publish := inst.StartBatch(context.Background(), "publish", nil) // or a request's, or a record's
	msg := &sarama.ProducerMessage{Topic: "orders.created", Metadata: "mine"}
	if _, _, err := producer.SendMessage(otelkafka.WithContext(ctx, msg)); err != nil {
		log.Fatal(err)
	}
	publish.End(nil)

	send := spans.Ended()[0]
	fmt.Println(send.Name(), "is a child:", send.Parent().SpanID() == publish.SpanContext().SpanID())
	fmt.Println("Metadata:", msg.Metadata)
	// Output:
	// send orders.created is a child: true
	// Metadata: mine
}

func ExampleWrapAsyncProducer() {
	inst, spans := shop()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	sent := mocks.NewAsyncProducer(reporter{}, config) // in a service, sarama.NewAsyncProducer
	sent.ExpectInputAndSucceed()

	producer := otelkafka.WrapAsyncProducer(sent, config, inst)
	producer.Input() <- otelkafka.WithContext(context.Background(), &sarama.ProducerMessage{
		Topic: "orders.created", Metadata: "order-1",
	})
	fmt.Println("acknowledged:", (<-producer.Successes()).Metadata)
	if err := producer.Close(); err != nil {
		log.Fatal(err)
	}
	printSpans(spans)
	// Output:
	// acknowledged: order-1
	// send orders.created
}

// Nobody reads Successes, and what was acknowledged is counted all the same.
func ExampleDiscardSuccesses() {
	inst, spans := shop()
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true // for the wrapper
	sent := mocks.NewAsyncProducer(reporter{}, config)
	sent.ExpectInputAndFail(sarama.ErrOutOfBrokers)
	sent.ExpectInputAndSucceed()

	producer := otelkafka.WrapAsyncProducer(sent, config, inst, otelkafka.DiscardSuccesses())
	for range 2 {
		producer.Input() <- &sarama.ProducerMessage{Topic: "orders.created"}
	}
	fmt.Println(producer.Close())
	fmt.Println(len(spans.Ended()), "spans")
	// Output:
	// kafka: Failed to deliver 1 messages.
	// 2 spans
}
