package otelkafka_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
	"github.com/rcrowley/go-metrics"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// shop returns a service's instrumentation, and its spans as they end.
func shop() (*otelkafka.Instrumentation, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	_, inst := shopPage(spans)
	return inst, spans
}

// shopPage returns a service's telemetry, which has its page, and instrumentation.
func shopPage(spans ...trace.SpanProcessor) (*telemetry.Telemetry, *otelkafka.Instrumentation) {
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "shop", LogWriter: io.Discard, SpanProcessors: spans,
	})
	if err != nil {
		log.Fatal(err)
	}
	inst, err := otelkafka.New(otelkafka.WithTelemetry(tel), otelkafka.Options{
		ConsumerGroup: "shop-svc", Produces: []string{"orders.created"}, Consumes: []string{"orders.created"},
	})
	if err != nil {
		log.Fatal(err)
	}
	return tel, inst
}

// printPage prints the lines of the /metrics page with a metric's samples.
func printPage(tel *telemetry.Telemetry, metric string) {
	page := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, metric+"{") {
			fmt.Print(line)
		}
	}
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
	// send orders.created failed: NOT_ENOUGH_REPLICAS
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

// claim is what sarama gives to ConsumeClaim: here, three records of one partition.
type claim struct{ sarama.ConsumerGroupClaim }

func (claim) Topic() string    { return "orders.created" }
func (claim) Partition() int32 { return 0 }

func (claim) Messages() <-chan *sarama.ConsumerMessage {
	messages := make(chan *sarama.ConsumerMessage, 3)
	for offset := range int64(3) {
		messages <- &sarama.ConsumerMessage{Topic: "orders.created", Offset: offset}
	}
	close(messages)
	return messages
}

type session struct{ sarama.ConsumerGroupSession }

func (session) Claims() map[string][]int32 { return map[string][]int32{"orders.created": {0, 1}} }
func (session) GenerationID() int32        { return 1 }

func (session) Context() context.Context { return context.Background() }

func (session) MarkMessage(msg *sarama.ConsumerMessage, _ string) { fmt.Println("marked", msg.Offset) }

// In a service: group.Consume(ctx, []string{"orders.created"}, handler).
func ExampleNewHandler() {
	inst, spans := shop()
	handler := otelkafka.NewHandler(inst,
		func(ctx context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
			if msg.Offset == 2 {
				return errors.New("out of stock") // ends the claim: the record is read again
			}
			return ctx.Err()
		},
		otelkafka.OnSetup(func(sarama.ConsumerGroupSession) error { return nil }),
		otelkafka.OnCleanup(func(sarama.ConsumerGroupSession) error { return nil }))

	fmt.Println(handler.ConsumeClaim(session{}, claim{}))
	printSpans(spans)
	// Output:
	// marked 0
	// marked 1
	// out of stock
	// process orders.created
	// process orders.created
	// process orders.created failed: *errors.errorString
}

// A record that cannot be handled is set aside, and the handler goes on.
func ExampleFail() {
	inst, spans := shop()
	handler := otelkafka.NewHandler(inst,
		func(ctx context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
			if msg.Offset == 1 {
				otelkafka.Fail(ctx, sarama.ErrInvalidMessage) // and send it to a topic of dead letters
			}
			return nil
		})
	if err := handler.ConsumeClaim(session{}, claim{}); err != nil {
		log.Fatal(err)
	}
	printSpans(spans)
	// Output:
	// marked 0
	// marked 1
	// marked 2
	// process orders.created
	// process orders.created failed: CORRUPT_MESSAGE
	// process orders.created
}

// shipping is a handler with a loop of its own.
type shipping struct{ inst *otelkafka.Instrumentation }

func (shipping) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (shipping) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (s shipping) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for record := range s.inst.Records(session, claim) {
		if err := ship(record.Context(), record.Value); err != nil {
			record.Fail(err)
			return err
		}
		session.MarkMessage(record.ConsumerMessage, "")
	}
	return nil
}

func ship(ctx context.Context, _ []byte) error { return ctx.Err() }

func ExampleInstrumentation_Records() {
	inst, spans := shop()
	var handler sarama.ConsumerGroupHandler = shipping{inst}
	if err := handler.ConsumeClaim(session{}, claim{}); err != nil {
		log.Fatal(err)
	}
	printSpans(spans)
	// Output:
	// marked 0
	// marked 1
	// marked 2
	// process orders.created
	// process orders.created
	// process orders.created
}

func ExampleNewBatchHandler() {
	inst, spans := shop()
	handler := otelkafka.NewBatchHandler(inst, 500,
		func(ctx context.Context, _ sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
			fmt.Println(len(batch), "records")
			return ctx.Err()
		})
	if err := handler.ConsumeClaim(session{}, claim{}); err != nil {
		log.Fatal(err)
	}
	printSpans(spans)
	// Output:
	// 3 records
	// marked 2
	// process orders.created
}

// storing is a handler of one's own that takes many records at once.
type storing struct{ inst *otelkafka.Instrumentation }

func (storing) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (storing) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h storing) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for batch := range h.inst.Batches(session, claim, 500) {
		fmt.Println(len(batch.Messages), "records")
		if err := ship(batch.Context(), batch.Messages[0].Value); err != nil {
			batch.Fail(err)
			return err
		}
		session.MarkMessage(batch.Messages[len(batch.Messages)-1], "")
	}
	return nil
}

func ExampleInstrumentation_Batches() {
	inst, spans := shop()
	if err := (storing{inst}).ConsumeClaim(session{}, claim{}); err != nil {
		log.Fatal(err)
	}
	printSpans(spans)
	// Output:
	// 3 records
	// marked 2
	// process orders.created
}

func ExampleObserveSarama() {
	tel, inst := shopPage()
	config := sarama.NewConfig()
	config.MetricRegistry = metrics.NewRegistry()
	unregister, err := otelkafka.ObserveSarama(inst, "producer", config.MetricRegistry) // before sarama.NewSyncProducer
	if err != nil {
		log.Fatal(err)
	}
	metrics.GetOrRegisterMeter("record-send-rate", config.MetricRegistry).Mark(3) // sarama does this
	printPage(tel, catalogue.KafkaClientRecordsSentTotal)
	if err := unregister(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// kafka_client_records_sent_total{client="producer",service="shop"} 3
}

// A consumer group's member whose rebalances are counted and timed.
func Example_rebalances() {
	tel, inst := shopPage()
	rebalances, err := otelkafka.NewRebalances(inst)
	if err != nil {
		log.Fatal(err)
	}
	config := sarama.NewConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{
		rebalances.Strategy(sarama.NewBalanceStrategyCooperativeSticky()),
	}
	handler := rebalances.Watch(otelkafka.NewHandler(inst,
		func(ctx context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
			return ship(ctx, msg.Value)
		}))

	// In a service: group.Consume(ctx, []string{"orders.created"}, handler), again and again. sarama then does this:
	if err := handler.Setup(session{}); err != nil {
		log.Fatal(err)
	}
	printPage(tel, catalogue.KafkaConsumerAssignedPartitions)
	if err := handler.Cleanup(session{}); err != nil {
		log.Fatal(err)
	}
	if err := rebalances.Close(); err != nil { // once the group is closed
		log.Fatal(err)
	}
	// Output:
	// kafka_consumer_assigned_partitions{service="shop",topic="orders.created"} 2
}
