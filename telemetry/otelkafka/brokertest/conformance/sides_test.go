//go:build integration

package conformance

import (
	"context"
	"testing"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/propagation"

	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// handle handles one record, in the context that its side gives it.
type handle func(ctx context.Context, msg *sarama.ConsumerMessage) error

// side is one way to use sarama: each script has the same code for all.
type side struct {
	name    string
	library string // whose goroutines are its
	sync    func(p sarama.SyncProducer, config *sarama.Config) sarama.SyncProducer
	async   func(p sarama.AsyncProducer, config *sarama.Config) sarama.AsyncProducer
	handler func(h handle) sarama.ConsumerGroupHandler
}

func sides(t *testing.T, s *stage) []side {
	t.Helper()
	w3c := propagation.TraceContext{}
	inst, err := otelkafka.New(
		otelkafka.WithTracerProvider(s.tracers), otelkafka.WithMeterProvider(s.meters), otelkafka.WithPropagators(w3c),
		otelkafka.Options{ConsumerGroup: "g", Produces: []string{"out"}, Consumes: []string{"out"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	others := []otelsarama.Option{otelsarama.WithTracerProvider(s.tracers), otelsarama.WithPropagators(w3c)}
	return []side{
		{
			name:    "sarama",
			library: "none",
			sync:    func(p sarama.SyncProducer, _ *sarama.Config) sarama.SyncProducer { return p },
			async:   func(p sarama.AsyncProducer, _ *sarama.Config) sarama.AsyncProducer { return p },
			handler: func(h handle) sarama.ConsumerGroupHandler {
				return loop(func(ctx context.Context, _ *sarama.ConsumerMessage) context.Context { return ctx }, h)
			},
		},
		{
			name:    "otelkafka",
			library: "github.com/vigie-dev/vigie/telemetry/otelkafka.",
			sync: func(p sarama.SyncProducer, _ *sarama.Config) sarama.SyncProducer {
				return otelkafka.WrapSyncProducer(p, inst)
			},
			async: func(p sarama.AsyncProducer, config *sarama.Config) sarama.AsyncProducer {
				return otelkafka.WrapAsyncProducer(p, config, inst)
			},
			handler: func(h handle) sarama.ConsumerGroupHandler {
				return otelkafka.NewHandler(inst, func(ctx context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
					return h(ctx, msg)
				})
			},
		},
		{
			name:    "otelsarama",
			library: "github.com/dnwe/otelsarama.",
			sync: func(p sarama.SyncProducer, config *sarama.Config) sarama.SyncProducer {
				return otelsarama.WrapSyncProducer(config, p, others...)
			},
			async: func(p sarama.AsyncProducer, config *sarama.Config) sarama.AsyncProducer {
				return otelsarama.WrapAsyncProducer(config, p, others...)
			},
			handler: func(h handle) sarama.ConsumerGroupHandler {
				return otelsarama.WrapConsumerGroupHandler(loop(func(ctx context.Context, msg *sarama.ConsumerMessage) context.Context {
					return w3c.Extract(ctx, otelsarama.NewConsumerMessageCarrier(msg))
				}, h), others...)
			},
		},
	}
}

// loopHandler is a handler as sarama's documentation has it.
type loopHandler struct {
	within func(ctx context.Context, msg *sarama.ConsumerMessage) context.Context
	handle handle
}

func loop(within func(context.Context, *sarama.ConsumerMessage) context.Context, h handle) sarama.ConsumerGroupHandler {
	return loopHandler{within, h}
}

func (loopHandler) Setup(sarama.ConsumerGroupSession) error { return nil }

func (loopHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h loopHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for msg := range claim.Messages() {
		if err := h.handle(h.within(session.Context(), msg), msg); err != nil {
			return err
		}
		session.MarkMessage(msg, "")
	}
	return nil
}
