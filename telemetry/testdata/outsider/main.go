// Command outsider is a program of another team: it imports the library from
// outside its repository, sends a record and looks at its own /metrics page.
package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	t, err := telemetry.Setup(ctx, telemetry.Config{Service: "outsider"})
	if err != nil {
		return err
	}
	defer func() { _ = t.Shutdown(ctx) }()
	inst, err := otelkafka.New(otelkafka.WithTelemetry(t), otelkafka.Options{Produces: []string{"greetings"}})
	if err != nil {
		return err
	}

	fake := mocks.NewSyncProducer(failNow{}, nil)
	fake.ExpectSendMessageAndSucceed()
	producer := otelkafka.WrapSyncProducer(fake, inst)
	defer func() { _ = producer.Close() }()

	ctx, span := t.TracerProvider().Tracer("outsider").Start(ctx, "greet")
	defer span.End()
	record := &sarama.ProducerMessage{Topic: "greetings", Value: sarama.StringEncoder("hello")}
	if _, _, err := producer.SendMessage(otelkafka.WithContext(ctx, record)); err != nil {
		return err
	}

	page := httptest.NewRecorder()
	t.MetricsHandler().ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, "kafka_messages_produced_total") {
			fmt.Print(line)
		}
	}
	fmt.Println("traceparent travels:", len(record.Headers) > 0 && string(record.Headers[0].Key) == "traceparent")
	return nil
}

// failNow is what sarama's mocks report to.
type failNow struct{}

func (failNow) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
