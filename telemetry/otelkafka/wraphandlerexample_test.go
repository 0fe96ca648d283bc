package otelkafka_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

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
	// process orders.created failed: kafka.2
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
	if err := (shipping{inst}).ConsumeClaim(session{}, claim{}); err != nil {
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

// legacy is a handler that stays as it is.
type legacy struct{}

func (legacy) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (legacy) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (legacy) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for msg := range claim.Messages() {
		if err := ship(otelkafka.ContextOf(session, msg), msg.Value); err != nil {
			return err
		}
		session.MarkMessage(msg, "")
	}
	return nil
}

func ExampleWrapConsumerGroupHandler() {
	inst, spans := shop()
	handler := otelkafka.WrapConsumerGroupHandler(legacy{}, inst)
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
