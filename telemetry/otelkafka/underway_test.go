package otelkafka

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
	"go.opentelemetry.io/otel/codes"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// What failed is counted without an option, sends and handlers, also where the handler says so by Fail and goes on: the span
// and all metrics of a record agree.
func TestWhatFailsIsCounted(t *testing.T) {
	r, inst := newInstrumentation(t, Options{
		ConsumerGroup: "g", Produces: []string{"out"}, Consumes: []string{"in"}, Conventions: true,
	})
	failures := func(name string, want float64) {
		t.Helper()
		if got := r.Metric(name, nil); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	failures(catalogue.KafkaSendFailuresTotal, 0)
	failures(catalogue.KafkaProcessFailuresTotal, 0)
	fake := mocks.NewSyncProducer(t, nil)
	fake.ExpectSendMessageAndFail(sarama.ErrNotEnoughReplicas)
	if _, _, err := WrapSyncProducer(fake, inst).SendMessage(&sarama.ProducerMessage{Topic: "out"}); err == nil {
		t.Fatal("no error")
	}
	failures(catalogue.KafkaSendFailuresTotal, 1)
	fails := func(ctx context.Context, how int64) error {
		switch how {
		case 0:
			return nil
		case 1:
			Fail(ctx, sarama.ErrInvalidMessage)
			return nil
		default:
			return sarama.ErrInvalidMessage
		}
	}
	for n, h := range []sarama.ConsumerGroupHandler{
		NewHandler(inst, func(ctx context.Context, _ sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error {
			return fails(ctx, msg.Offset)
		}),
		NewBatchHandler(inst, 1, func(ctx context.Context, _ sarama.ConsumerGroupSession, batch []*sarama.ConsumerMessage) error {
			return fails(ctx, batch[0].Offset)
		}),
	} {
		session, claim := claimOf(t, 3, true)
		if err := h.ConsumeClaim(session, claim); err == nil {
			t.Error("no error")
		}
		times := float64(n + 1)
		failures(catalogue.KafkaProcessFailuresTotal, 2*times)
		failures(catalogue.KafkaMessagesConsumedTotal, 2*times)
		failed := map[string]string{"error_type": "CORRUPT_MESSAGE"}
		if got := r.Metric(catalogue.MessagingProcessDuration, failed); got != 2*times {
			t.Errorf("%v durations have an error.type, want %v", got, 2*times)
		}
	}
	wrong := 0
	for _, span := range r.Spans() {
		if span.Name == "process in" && span.Status.Code == codes.Error {
			wrong++
		}
	}
	if wrong != 4 {
		t.Errorf("%d spans have failed, want 4", wrong)
	}
	r.CheckCatalogue()
}

// An asynchronous producer's failures count whether or not the record is in a sampled trace.
func TestAsyncFailuresAreCounted(t *testing.T) {
	for _, sampler := range []string{"always_on", "always_off"} {
		t.Run(sampler, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", sampler)
			r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
			config := mocks.NewTestConfig()
			config.Producer.Return.Successes = true
			fake := mocks.NewAsyncProducer(t, config)
			fake.ExpectInputAndFail(sarama.ErrNotEnoughReplicas)
			fake.ExpectInputAndSucceed()
			p := WrapAsyncProducer(fake, config, inst)
			for range 2 {
				p.Input() <- &sarama.ProducerMessage{Topic: "out"}
			}
			if failed := <-p.Errors(); !errors.Is(failed.Err, sarama.ErrNotEnoughReplicas) {
				t.Errorf("the record failed by %v", failed.Err)
			}
			<-p.Successes()
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			got := [3]float64{
				r.Metric(catalogue.KafkaSendFailuresTotal, nil), r.Metric(catalogue.KafkaMessagesProducedTotal, nil),
				r.Metric(catalogue.KafkaProducerRecordsInFlight, nil),
			}
			if got != [3]float64{1, 1, 0} {
				t.Errorf("failed, acknowledged and in flight: %v, want 1, 1 and 0", got)
			}
		})
	}
}

// The records of a batch have durations, each an equal part of the batch's, and are delivered, in every metric.
func TestABatchIsTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, inst := newInstrumentation(t, Options{ConsumerGroup: "g", Consumes: []string{"in"}, Conventions: true})
		session, claim := claimOf(t, 0, false)
		claim.messages = make(chan *sarama.ConsumerMessage, 4)
		for range 4 {
			claim.messages <- &sarama.ConsumerMessage{Topic: "in", Timestamp: time.Now()}
		}
		close(claim.messages)
		h := NewBatchHandler(inst, 10, func(context.Context, sarama.ConsumerGroupSession, []*sarama.ConsumerMessage) error {
			<-time.After(2 * time.Second)
			return nil
		})
		if err := h.ConsumeClaim(session, claim); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][2]float64{
			catalogue.KafkaMessageProcessingDuration: {4, 2},
			catalogue.KafkaMessageEndToEndDuration:   {4, 8},
			catalogue.MessagingProcessDuration:       {1, 2},
		} {
			if n, sum := r.Metric(name, nil), r.HistogramSum(name, nil); n != want[0] || sum != want[1] {
				t.Errorf("%s: %v take %v s, want %v", name, n, sum, want)
			}
		}
		if got := r.Metric(catalogue.MessagingClientConsumedMessages, nil); got != 4 {
			t.Errorf("%v are delivered, want 4", got)
		}
		r.CheckCatalogue()
	})
}

// The page shows a handler that is stuck, and what is on its way, while it is.
func TestWhatIsUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, inst := newInstrumentation(t, Options{ConsumerGroup: "g", Produces: []string{"out"}, Consumes: []string{"in"}})
		want := func(when string, records, oldest, flying float64) {
			t.Helper()
			got := [3]float64{
				r.Metric(catalogue.KafkaConsumerRecordsInHand, map[string]string{"topic": "in", "group": "g"}),
				r.Metric(catalogue.KafkaConsumerOldestInHand, map[string]string{"topic": "in", "group": "g"}),
				r.Metric(catalogue.KafkaProducerRecordsInFlight, map[string]string{"topic": "out"}),
			}
			if got != [3]float64{records, oldest, flying} {
				t.Errorf("%s: in hand, seconds and in flight are %v, want %v, %v and %v", when, got, records, oldest, flying)
			}
		}
		want("at first", 0, 0, 0)
		_, stuck := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in", Timestamp: time.Now().Add(-time.Minute)})
		<-time.After(30 * time.Second)
		_, other := inst.StartProcess(t.Context(), &sarama.ConsumerMessage{Topic: "in"})
		_, send := inst.StartSend(t.Context(), &sarama.ProducerMessage{Topic: "out"})
		<-time.After(10 * time.Second)
		want("two, the first for 40 s", 2, 40, 1)
		stuck.End(nil)
		send.End(0, 0, sarama.ErrOutOfBrokers)
		want("the second", 1, 10, 0)
		other.End(nil)
		want("none", 0, 0, 0)
		if n, sum := r.Metric(catalogue.KafkaMessageEndToEndDuration, map[string]string{"topic": "in", "group": "g"}),
			r.HistogramSum(catalogue.KafkaMessageEndToEndDuration, nil); n != 1 || sum != 100 {
			t.Errorf("%v records took %v s from end to end, want one of 100 s", n, sum)
		}
		if n := r.Series(catalogue.KafkaConsumerRecordsInHand, nil) + r.Series(catalogue.KafkaProducerRecordsInFlight, nil); n != 2 {
			t.Errorf("%d series, want one of what is consumed and one of what is produced", n)
		}
		r.CheckCatalogue()
	})
}

// A commit that a handler asks for is timed.
func TestCommitsAreTimed(t *testing.T) {
	r, inst := newInstrumentation(t, Options{ConsumerGroup: "g"})
	rebalances, err := NewRebalances(inst)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := rebalances.timeCommits()
	if err != nil {
		t.Fatal(err)
	}
	(&trackedSession{ConsumerGroupSession: committing{}, committed: committed}).Commit()
	if got := r.Metric(catalogue.KafkaConsumerCommitDuration, map[string]string{"group": "g"}); got != 1 {
		t.Errorf("%v commits are timed", got)
	}
}

type committing struct{ sarama.ConsumerGroupSession }

func (committing) Commit() {}
