package brokertest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

func TestSyncProducerSends(t *testing.T) {
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
	p := syncOf(t, cluster, wrapConfig(), inst)
	bag, err := baggage.Parse("tier=gold")
	if err != nil {
		t.Fatal(err)
	}
	ctx, request := r.Telemetry.TracerProvider().Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
	msg := &sarama.ProducerMessage{Topic: "out", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v"), Metadata: "mine"}
	partition, offset, err := p.SendMessage(otelkafka.WithContext(ctx, msg))
	if err != nil {
		t.Fatal(err)
	}
	request.End()
	if msg.Metadata != "mine" {
		t.Errorf("Metadata comes back as %v", msg.Metadata)
	}
	span := r.Span("send out")
	if span.SpanKind != trace.SpanKindProducer || span.Parent.SpanID() != request.SpanContext().SpanID() {
		t.Errorf("span of kind %v under %v, want the request's", span.SpanKind, span.Parent)
	}
	wantAttributes(t, span, attribute.String("messaging.kafka.message.key", "k"),
		attribute.Int("messaging.kafka.offset", int(offset)))
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != 1 {
		t.Errorf("counted %v, want 1", got)
	}
	read := readAll(t, cluster, 1)[0]
	back := inst.Extract(t.Context(), read)
	if trace.SpanContextFromContext(back).SpanID() != span.SpanContext.SpanID() || read.Partition != partition {
		t.Errorf("the record carries %v, want the context of its span", trace.SpanContextFromContext(back))
	}
	if got := baggage.FromContext(back).Member("tier").Value(); got != "gold" {
		t.Errorf("baggage says %q, want gold", got)
	}
}

// In a batch, each record has its own outcome.
func TestSyncProducerSendsMessages(t *testing.T) {
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
	config := wrapConfig()
	config.Producer.MaxMessageBytes = 1000
	p := syncOf(t, cluster, config, inst)
	var msgs []*sarama.ProducerMessage
	for n := range 10 {
		size := 10
		if n%5 == 3 {
			size = 2000
		}
		msgs = append(msgs, &sarama.ProducerMessage{Topic: "out", Value: sarama.ByteEncoder(make([]byte, size)), Metadata: n})
	}
	var failed sarama.ProducerErrors
	if err := p.SendMessages(msgs); !errors.As(err, &failed) || len(failed) != 2 {
		t.Fatalf("error %v, want two failures", err)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != 8 {
		t.Errorf("counted %v, want 8", got)
	}
	byError := map[codes.Code]int{}
	for _, span := range r.Spans() {
		byError[span.Status.Code]++
	}
	if byError[codes.Error] != 2 || byError[codes.Unset] != 8 {
		t.Errorf("spans by status: %v, want 2 failed and 8 not", byError)
	}
	for n, msg := range msgs {
		if msg.Metadata != n {
			t.Errorf("Metadata %v, want %d", msg.Metadata, n)
		}
	}
}

// outcomes reads both channels until they are closed. It closes the producer after n results, if n is not 0: closed
// earlier, sarama gives up what it is sending again, and it sends again when the machine is slow.
func outcomes(p sarama.AsyncProducer, n int64) func() ([]*sarama.ProducerMessage, []*sarama.ProducerError) {
	var reading sync.WaitGroup
	var got atomic.Int64
	count := func() {
		if got.Add(1) == n {
			p.AsyncClose()
		}
	}
	var sent []*sarama.ProducerMessage
	var failed []*sarama.ProducerError
	reading.Go(func() {
		for msg := range p.Successes() {
			sent = append(sent, msg)
			count()
		}
	})
	reading.Go(func() {
		for err := range p.Errors() {
			failed = append(failed, err)
			count()
		}
	})
	return func() ([]*sarama.ProducerMessage, []*sarama.ProducerError) {
		reading.Wait()
		return sent, failed
	}
}

func TestAsyncProducerGivesRecordsBack(t *testing.T) {
	for _, sampler := range []string{"always_on", "always_off"} {
		t.Run(sampler, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_SAMPLER", sampler)
			leaks.None(t)
			cluster := wrapCluster(t)
			r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}, Conventions: true})
			config := wrapConfig()
			config.Producer.MaxMessageBytes = 1000
			p := asyncOf(t, cluster, config, inst)
			const n, tooLarge = 300, 3
			results := outcomes(p, n)
			given := map[*sarama.ProducerMessage]any{}
			for i := range n {
				msg := &sarama.ProducerMessage{Topic: "out", Metadata: &struct{ n int }{i}, Value: sarama.StringEncoder("v")}
				if i < tooLarge {
					msg.Value = sarama.ByteEncoder(make([]byte, 2000))
				}
				given[msg] = msg.Metadata
				p.Input() <- otelkafka.WithContext(t.Context(), msg)
			}
			sent, failed := results()
			for _, f := range failed {
				sent = append(sent, f.Msg)
			}
			for _, msg := range sent {
				if want, ok := given[msg]; !ok || msg.Metadata != want {
					t.Fatalf("a record comes back as %p with %v, want one that was given, with %v", msg, msg.Metadata, want)
				}
				delete(given, msg)
			}
			if len(given) != 0 || len(failed) != tooLarge {
				t.Errorf("%d records did not come back; %d failed, want %d: %v", len(given), len(failed), tooLarge, failed)
			}
			if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != n-tooLarge {
				t.Errorf("counted %v, want %d", got, n-tooLarge)
			}
			if got := r.Metric(catalogue.MessagingClientOperationDuration, nil); got != n {
				t.Errorf("%v sends timed, want %d, whether sampled or not", got, n)
			}
			byStatus := map[codes.Code]int{}
			for _, span := range r.Spans() {
				byStatus[span.Status.Code]++
			}
			if sampler == "always_on" && (byStatus[codes.Error] != tooLarge || byStatus[codes.Unset] != n-tooLarge) {
				t.Errorf("spans by status: %v", byStatus)
			}
			r.CheckCatalogue()
		})
	}
}

func TestAsyncProducerPropagates(t *testing.T) {
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
	p := asyncOf(t, cluster, wrapConfig(), inst)
	results := outcomes(p, 1)
	ctx, request := r.Telemetry.TracerProvider().Tracer("test").Start(t.Context(), "request")
	p.Input() <- otelkafka.WithContext(ctx, &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v")})
	request.End()
	results()
	span := r.Span("send out")
	if span.SpanKind != trace.SpanKindProducer || span.Parent.SpanID() != request.SpanContext().SpanID() {
		t.Errorf("span of kind %v under %v, want the request's", span.SpanKind, span.Parent)
	}
	back := trace.SpanContextFromContext(inst.Extract(t.Context(), readAll(t, cluster, 1)[0]))
	if back.SpanID() != span.SpanContext.SpanID() {
		t.Errorf("the record carries %v, want the context of its span", back)
	}
}

// A handler of results may be slow; Close returns what failed, as sarama's does.
func TestAsyncProducerClose(t *testing.T) {
	leaks.None(t)
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
	config := wrapConfig()
	config.Producer.MaxMessageBytes = 1000
	p := asyncOf(t, cluster, config, inst)
	for i := range 50 {
		p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.ByteEncoder(make([]byte, 2000*(i%2)))}
	}
	p.Input() <- nil // sarama ignores it
	err := p.Close()
	var failed sarama.ProducerErrors
	if !errors.As(err, &failed) || len(failed) != 25 {
		t.Errorf("Close says %v, want 25 failures", err)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, nil); got != 25 || len(r.Spans()) != 50 {
		t.Errorf("counted %v with %d spans, want 25 with 50", got, len(r.Spans()))
	}
}

// Where sarama gives no results, spans end at once and nothing waits for any.
func TestAsyncProducerWithoutResults(t *testing.T) {
	tests := []struct {
		name              string
		successes, errors bool
		discard           bool
		n                 int
		counted           float64
	}{
		{name: "neither", n: 40},
		{name: "errors alone", errors: true, n: 40},
		{name: "successes alone", successes: true, n: 40, counted: 40},
		// More than all buffers hold: it stops halfway if somebody has to read Successes.
		{name: "discarded", successes: true, errors: true, discard: true, n: 4000, counted: 4000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			leaks.None(t)
			cluster := wrapCluster(t)
			r, inst := newInstrumentation(t, otelkafka.Options{Produces: []string{"out"}})
			config := wrapConfig()
			config.Producer.Return.Successes, config.Producer.Return.Errors = test.successes, test.errors
			var options []otelkafka.AsyncOption
			if test.discard {
				options = append(options, otelkafka.DiscardSuccesses())
			}
			p := asyncOf(t, cluster, config, inst, options...)
			for range test.n {
				p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v")}
			}
			// First: what sarama sends again while it is closed is a failure to it.
			readAll(t, cluster, test.n)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if got := r.Metric(catalogue.KafkaMessagesProducedTotal, nil); got != test.counted || len(r.Spans()) != test.n {
				t.Errorf("counted %v with %d spans, want %v with %d", got, len(r.Spans()), test.counted, test.n)
			}
		})
	}
}
