package brokertest

import (
	"context"
	"sync"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// ways are the ways to handle one record after the other. Each marks what it handled.
func ways(inst *otelkafka.Instrumentation, handle otelkafka.Handle) map[string]sarama.ConsumerGroupHandler {
	return map[string]sarama.ConsumerGroupHandler{
		"handler": otelkafka.NewHandler(inst, handle),
		"records": loopHandler{func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
			for record := range inst.Records(session, claim) {
				if err := handle(record.Context(), session, record.ConsumerMessage); err != nil {
					record.Fail(err)
					return err
				}
				session.MarkMessage(record.ConsumerMessage, "")
			}
			return nil
		}},
	}
}

// loopHandler is a handler as sarama's users write it.
type loopHandler struct {
	consume func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error
}

func (loopHandler) Setup(sarama.ConsumerGroupSession) error { return nil }

func (loopHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h loopHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	return h.consume(session, claim)
}

// With a real group: each record is handled once by each way, and the group's offsets are where they belong.
func TestHandlersInAGroup(t *testing.T) {
	const n = 200
	for name := range ways(nil, nil) {
		t.Run(name, func(t *testing.T) {
			leaks.None(t)
			cluster := wrapCluster(t)
			r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}, Consumes: []string{"out"}, ConsumerGroup: "g"})
			p := syncOf(t, cluster, wrapConfig(), inst)
			for range n {
				if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v")}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var handled sync.WaitGroup
			handled.Add(n)
			h := ways(inst, func(context.Context, sarama.ConsumerGroupSession, *sarama.ConsumerMessage) error {
				handled.Done()
				return nil
			})[name]
			config := wrapConfig()
			group, err := sarama.NewConsumerGroup(cluster.ListenAddrs(), "g", config)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- group.Consume(ctx, []string{"out"}, h) }()
			handled.Wait()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err := group.Close(); err != nil {
				t.Error(err)
			}
			if got := r.Metric(catalogue.KafkaMessagesConsumedTotal, nil); got != n || len(r.Spans()) != 2*n {
				t.Errorf("consumed %v with %d spans, want %d with %d", got, len(r.Spans()), n, 2*n)
			}
			want := map[int32]int64{}
			for _, msg := range readAll(t, cluster, n) {
				want[msg.Partition]++
			}
			wantOffsets(t, cluster, want)
		})
	}
}
