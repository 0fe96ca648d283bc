package otelkafka

import (
	"errors"
	"sync"
	"testing"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/vigie-dev/vigie/telemetry"
)

// noLeak fails the test if it leaves goroutines beyond those that are there now.
func noLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
	})
}

// outcomes reads both channels until they are closed.
func outcomes(p sarama.AsyncProducer) func() ([]*sarama.ProducerMessage, []*sarama.ProducerError) {
	var reading sync.WaitGroup
	var sent []*sarama.ProducerMessage
	var failed []*sarama.ProducerError
	reading.Go(func() {
		for msg := range p.Successes() {
			sent = append(sent, msg)
		}
	})
	reading.Go(func() {
		for err := range p.Errors() {
			failed = append(failed, err)
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
			noLeak(t)
			cluster := wrapCluster(t)
			r, inst := newInstrumentation(t, Options{Produces: []string{"out"}, Conventions: true})
			config := wrapConfig()
			config.Producer.MaxMessageBytes = 1000
			p := asyncOf(t, cluster, config, inst)
			results := outcomes(p)
			given := map[*sarama.ProducerMessage]any{}
			const n, tooLarge = 300, 3
			for i := range n {
				msg := &sarama.ProducerMessage{Topic: "out", Metadata: &struct{ n int }{i}, Value: sarama.StringEncoder("v")}
				if i < tooLarge {
					msg.Value = sarama.ByteEncoder(make([]byte, 2000))
				}
				given[msg] = msg.Metadata
				p.Input() <- WithContext(t.Context(), msg)
			}
			p.AsyncClose()
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
				t.Errorf("%d records did not come back; %d failed, want %d", len(given), len(failed), tooLarge)
			}
			if got := r.Metric(telemetry.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != n-tooLarge {
				t.Errorf("counted %v, want %d", got, n-tooLarge)
			}
			if got := r.Metric(telemetry.MessagingClientOperationDuration, nil); got != n {
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
	r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
	p := asyncOf(t, cluster, wrapConfig(), inst)
	results := outcomes(p)
	ctx, request := inst.tracer.Start(t.Context(), "request")
	p.Input() <- WithContext(ctx, &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v")})
	request.End()
	p.AsyncClose()
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
	noLeak(t)
	cluster := wrapCluster(t)
	r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
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
	if got := r.Metric(telemetry.KafkaMessagesProducedTotal, nil); got != 25 || len(r.Spans()) != 50 {
		t.Errorf("counted %v with %d spans, want 25 with 50", got, len(r.Spans()))
	}
}

func TestAsyncProducerRefusesLateRecords(t *testing.T) {
	noLeak(t)
	_, inst := newInstrumentation(t, Options{})
	inner := newStubAsync()
	p := WrapAsyncProducer(inner, wrapConfig(), inst)
	p.AsyncClose()
	p.AsyncClose() // once is enough
	<-inner.closing
	late := WithContext(t.Context(), &sarama.ProducerMessage{Topic: "out", Metadata: "mine"})
	p.Input() <- late
	if got := <-p.Errors(); got.Msg != late || !errors.Is(got.Err, sarama.ErrShuttingDown) || late.Metadata != "mine" {
		t.Errorf("a late record comes back as %+v", got)
	}
	inner.finish()
	if _, open := <-p.Errors(); open {
		t.Error("Errors is still open")
	}
	if _, open := <-p.Successes(); open {
		t.Error("Successes is still open")
	}
}

// Spans that sarama's producer forgets end with it; so do the wrapper's goroutines where the user closes sarama's
// producer and not the wrapper.
func TestAsyncProducerWhoseInnerOneEnds(t *testing.T) {
	noLeak(t)
	r, inst := newInstrumentation(t, Options{})
	inner := newStubAsync()
	p := WrapAsyncProducer(inner, wrapConfig(), inst)
	msg := &sarama.ProducerMessage{Topic: "out"}
	p.Input() <- msg
	<-inner.input
	p.Input() <- msg // at once with itself, which sarama forbids
	<-inner.input
	inner.finish()
	for range p.Errors() { // until it is closed
	}
	if got := len(r.Spans()); got != 2 {
		t.Errorf("%d spans ended, want both", got)
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
			noLeak(t)
			cluster := wrapCluster(t)
			r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
			config := wrapConfig()
			config.Producer.Return.Successes, config.Producer.Return.Errors = test.successes, test.errors
			var options []AsyncOption
			if test.discard {
				options = append(options, DiscardSuccesses())
			}
			p := asyncOf(t, cluster, config, inst, options...)
			for range test.n {
				p.Input() <- &sarama.ProducerMessage{Topic: "out", Value: sarama.StringEncoder("v")}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			readAll(t, cluster, test.n)
			if got := r.Metric(telemetry.KafkaMessagesProducedTotal, nil); got != test.counted || len(r.Spans()) != test.n {
				t.Errorf("counted %v with %d spans, want %v with %d", got, len(r.Spans()), test.counted, test.n)
			}
		})
	}
}

// stubAsync is a producer whose results are the test's to give.
type stubAsync struct {
	sarama.AsyncProducer
	input     chan *sarama.ProducerMessage
	successes chan *sarama.ProducerMessage
	errors    chan *sarama.ProducerError
	closing   chan struct{}
}

func newStubAsync() *stubAsync {
	return &stubAsync{
		input: make(chan *sarama.ProducerMessage), successes: make(chan *sarama.ProducerMessage),
		errors: make(chan *sarama.ProducerError), closing: make(chan struct{}),
	}
}

func (s *stubAsync) Input() chan<- *sarama.ProducerMessage     { return s.input }
func (s *stubAsync) Successes() <-chan *sarama.ProducerMessage { return s.successes }
func (s *stubAsync) Errors() <-chan *sarama.ProducerError      { return s.errors }
func (s *stubAsync) AsyncClose()                               { close(s.closing) }

func (s *stubAsync) finish() {
	close(s.errors)
	close(s.successes)
}
