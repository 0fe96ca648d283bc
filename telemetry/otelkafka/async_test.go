package otelkafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/IBM/sarama/mocks"
	"go.opentelemetry.io/otel/codes"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

// returning is a configuration that returns every result.
func returning() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	return config
}

func TestAsyncProducerRefusesLateRecords(t *testing.T) {
	leaks.None(t)
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
	leaks.None(t)
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

// By sarama's default, what is acknowledged is not told.
func TestAsyncProducerCountsWhatSaramaTells(t *testing.T) {
	leaks.None(t)
	r, inst := newInstrumentation(t, Options{Produces: []string{"out"}, Conventions: true})
	inner := newStubAsync()
	p := WrapAsyncProducer(inner, sarama.NewConfig(), inst)
	for range 3 {
		p.Input() <- &sarama.ProducerMessage{Topic: "out"}
		failed := <-inner.input
		inner.errors <- &sarama.ProducerError{Msg: failed, Err: sarama.ErrNotEnoughReplicas}
		if got := <-p.Errors(); got.Msg != failed {
			t.Errorf("another record comes back: %+v", got)
		}
	}
	inner.finish()
	for range p.Errors() { // until it is closed
	}
	failed := 0
	for _, span := range r.Spans() {
		if span.Status.Code == codes.Error {
			failed++
			if span.Status.Description != "NOT_ENOUGH_REPLICAS" || !span.Parent.IsValid() {
				t.Errorf("a failed span says %q, and its parent is %v", span.Status.Description, span.Parent.SpanID())
			}
		}
	}
	if failed != 3 {
		t.Errorf("%d spans failed, want 3", failed)
	}
	if got := r.Metric(catalogue.MessagingClientSentMessages, map[string]string{"error_type": "NOT_ENOUGH_REPLICAS"}); got != 3 {
		t.Errorf("%v failed sends are counted, want 3", got)
	}
	if log := r.Logs(); len(log) != 1 || !strings.Contains(fmt.Sprint(log[0]["msg"]), "Return.Successes is off") {
		t.Errorf("the log says %v", log)
	}
}

// Sarama's producer, closed before the wrapper, takes no more records: they fail, and nothing panics.
func TestAsyncProducerWhoseInnerOneIsClosedFirst(t *testing.T) {
	for name, closeToo := range map[string]bool{"and the wrapper never": false, "then the wrapper": true} {
		t.Run(name, func(t *testing.T) {
			leaks.None(t)
			r, inst := newInstrumentation(t, Options{})
			inner := newStubAsync()
			p := WrapAsyncProducer(inner, returning(), inst)
			close(inner.input)
			late := &sarama.ProducerMessage{Topic: "out"}
			p.Input() <- late
			if got := <-p.Errors(); got.Msg != late || !errors.Is(got.Err, sarama.ErrShuttingDown) {
				t.Errorf("a late record comes back as %+v", got)
			}
			if closeToo {
				p.AsyncClose()
			}
			inner.finish()
			for range p.Errors() { // until it is closed
			}
			if span := r.Span("send out"); span.Status.Code != codes.Error {
				t.Errorf("the record's span ends with %v", span.Status)
			}
		})
	}
}

func TestTransactionsOfAClosedProducerAreSaramasToRefuse(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	inner := newStubAsync()
	p := WrapAsyncProducer(inner, returning(), inst)
	inner.finish()
	for range p.Errors() { // until it is closed
	}
	for name, call := range map[string]func() error{"BeginTxn": p.BeginTxn, "CommitTxn": p.CommitTxn, "AbortTxn": p.AbortTxn} {
		if err := call(); !errors.Is(err, sarama.ErrNonTransactedProducer) {
			t.Errorf("%s returns %v", name, err)
		}
	}
}

func TestRecordsOfOldProtocolsGetNoHeaders(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	config := returning()
	config.Version = sarama.V0_10_2_0
	inner := newStubAsync()
	p := WrapAsyncProducer(inner, config, inst)
	p.Input() <- &sarama.ProducerMessage{Topic: "out"}
	if got := <-inner.input; got.Headers != nil {
		t.Errorf("the record has %d headers, which sarama refuses", len(got.Headers))
	}
	inner.finish()
	for range p.Errors() { // until it is closed
	}
}

func TestAProducerIsWrappedOnce(t *testing.T) {
	r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
	fake := mocks.NewSyncProducer(t, nil)
	fake.ExpectSendMessageAndSucceed()
	if _, _, err := WrapSyncProducer(WrapSyncProducer(fake, inst), inst).SendMessage(&sarama.ProducerMessage{Topic: "out"}); err != nil {
		t.Fatal(err)
	}
	config := returning()
	fakeAsync := mocks.NewAsyncProducer(t, config)
	fakeAsync.ExpectInputAndSucceed()
	p := WrapAsyncProducer(WrapAsyncProducer(fakeAsync, config, inst), config, inst)
	p.Input() <- &sarama.ProducerMessage{Topic: "out"}
	<-p.Successes()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got := r.Metric(catalogue.KafkaMessagesProducedTotal, map[string]string{"topic": "out"}); got != 2 || len(r.Spans()) != 2 {
		t.Errorf("2 records count as %v, with %d spans", got, len(r.Spans()))
	}
}

func TestNilIsRefusedWhereItIsGiven(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	for name, construct := range map[string]func(){
		"sync producer":         func() { WrapSyncProducer(nil, inst) },
		"sync instrumentation":  func() { WrapSyncProducer(mocks.NewSyncProducer(t, nil), nil) },
		"async producer":        func() { WrapAsyncProducer(nil, nil, inst) },
		"async instrumentation": func() { WrapAsyncProducer(newStubAsync(), nil, nil) },
	} {
		func() {
			defer func() {
				if message, ok := recover().(string); !ok || !strings.Contains(message, "nil") {
					t.Errorf("%s: the panic says %q", name, message)
				}
			}()
			construct()
		}()
	}
	var none *telemetry.Telemetry
	if _, err := New(WithTelemetry(none)); err == nil || !strings.Contains(err.Error(), "nil") {
		t.Errorf("nil telemetry gives %v", err)
	}
	if _, err := New(nil); err == nil {
		t.Error("a nil option is accepted")
	}
}

func (s *stubAsync) BeginTxn() error  { return sarama.ErrNonTransactedProducer }
func (s *stubAsync) CommitTxn() error { return sarama.ErrNonTransactedProducer }
func (s *stubAsync) AbortTxn() error  { return sarama.ErrNonTransactedProducer }
