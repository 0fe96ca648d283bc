package otelkafka

import (
	"errors"
	"testing"

	"github.com/IBM/sarama"
)

// returning is a configuration that returns every result.
func returning() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	return config
}

func TestAsyncProducerRefusesLateRecords(t *testing.T) {
	noLeak(t)
	_, inst := newInstrumentation(t, Options{})
	inner := newStubAsync()
	p := WrapAsyncProducer(inner, returning(), inst)
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
	p := WrapAsyncProducer(inner, returning(), inst)
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

func (s *stubAsync) Input() chan<- *sarama.ProducerMessage { return s.input }

func (s *stubAsync) Successes() <-chan *sarama.ProducerMessage { return s.successes }

func (s *stubAsync) Errors() <-chan *sarama.ProducerError { return s.errors }

func (s *stubAsync) AsyncClose() { close(s.closing) }

func (s *stubAsync) finish() {
	close(s.errors)
	close(s.successes)
}
