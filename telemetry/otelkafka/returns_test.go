package otelkafka

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

// scriptedAsync is a producer that does as sarama's does: an interceptor takes the headers, every second record fails, results are
// told where the configuration says so, and closing it closes its input, then its results.
type scriptedAsync struct {
	*stubAsync
	returns      func(failed bool) bool
	answered     sync.WaitGroup
	stop, finish func()
}

func newScriptedAsync(config *sarama.Config) *scriptedAsync {
	s := &scriptedAsync{stubAsync: newStubAsync()}
	s.returns = func(failed bool) bool {
		if failed {
			return config.Producer.Return.Errors
		}
		return config.Producer.Return.Successes
	}
	stopped := make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(s.closing); <-stopped })
	s.finish = sync.OnceFunc(s.stubAsync.finish)
	go func() {
		defer close(stopped)
		for failed := false; ; failed = !failed {
			select {
			case msg := <-s.input:
				s.answer(msg, failed)
			case <-s.closing:
				close(s.input)
				return
			}
		}
	}()
	return s
}

func (s *scriptedAsync) answer(msg *sarama.ProducerMessage, failed bool) {
	defer s.answered.Done()
	msg.Headers = nil
	switch {
	case !s.returns(failed):
	case failed:
		s.errors <- &sarama.ProducerError{Msg: msg, Err: sarama.ErrNotEnoughReplicas}
	default:
		s.successes <- msg
	}
}

func (s *scriptedAsync) AsyncClose() { go func() { s.stop(); s.finish() }() }

// asyncCase is one way to use an asynchronous producer.
type asyncCase struct {
	successes, failures, discard bool // Return.Successes, Return.Errors and DiscardSuccesses
	traces, close                string
}

func asyncCases() (all []asyncCase) {
	onOff := []bool{false, true}
	for _, traces := range []string{"sampled", "not sampled", "not sampled, with conventions"} {
		for _, how := range []string{"Close", "AsyncClose", "twice", "inner first", "inner alone"} {
			for _, successes := range onOff {
				for _, failures := range onOff {
					for _, discard := range onOff {
						all = append(all, asyncCase{successes, failures, discard, traces, how})
					}
				}
			}
		}
	}
	return all
}

// Whatever sarama returns, whatever is sampled, and however it is closed: every span ends, what sarama says is counted once,
// nothing is left in flight, and no goroutine and no record is kept.
func TestAsyncProducerUnderEverySetting(t *testing.T) {
	for _, c := range asyncCases() {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			leaks.None(t)
			if c.traces != "sampled" {
				t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
			}
			r, inst := newInstrumentation(t, Options{Produces: []string{"out"}, Conventions: c.traces == "not sampled, with conventions"})
			config := sarama.NewConfig()
			config.Producer.Return.Successes, config.Producer.Return.Errors = c.successes, c.failures
			inner := newScriptedAsync(config)
			var options []AsyncOption
			if c.discard {
				options = append(options, DiscardSuccesses())
			}
			p := WrapAsyncProducer(inner, config, inst, options...)
			const n = 6
			got := asyncOutcome{returned: useAsync(t, p, inner, c.close, n), kept: len(p.(*asyncProducer).spans), spans: len(r.Spans())}
			got.produced = int(r.Metric(catalogue.KafkaMessagesProducedTotal, nil))
			got.failed = int(r.Metric(catalogue.KafkaSendFailuresTotal, nil))
			got.flying = int(r.Metric(catalogue.KafkaProducerRecordsInFlight, nil))
			if want := c.outcome(n); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

type asyncOutcome struct{ produced, failed, returned, spans, flying, kept int }

// outcome is what n records come to, half of which fail, and one more where sarama's producer is closed first.
func (c asyncCase) outcome(n int) (want asyncOutcome) {
	late := 0
	if c.close == "inner first" || c.close == "inner alone" {
		late = 1
	}
	if c.successes {
		want.produced = n / 2
	}
	if c.successes && !c.discard && c.close != "Close" {
		want.returned += n / 2
	}
	want.failed, want.spans = late, n+late
	if c.failures {
		want.failed += n / 2
		want.returned += n/2 + late
	}
	if !c.successes || !c.failures { // a record's span ends as it is handed over; what is said of it later has one below it
		want.spans += want.failed
	}
	if c.traces != "sampled" {
		want.spans = 0
	}
	return want
}

// useAsync sends n records, and one more once sarama's producer is closed where that comes first, and closes what is to be
// closed. It returns how many records came back.
func useAsync(t *testing.T, p sarama.AsyncProducer, inner *scriptedAsync, how string, n int) (returned int) {
	t.Helper()
	var results sync.WaitGroup
	var successes, failures int
	if how != "Close" { // which reads both itself
		results.Go(func() {
			for range p.Successes() {
				successes++
			}
		})
		results.Go(func() {
			for range p.Errors() {
				failures++
			}
		})
	}
	inner.answered.Add(n)
	for range n {
		p.Input() <- WithContext(t.Context(), &sarama.ProducerMessage{Topic: "out"})
	}
	if how != "Close" {
		inner.answered.Wait()
	}
	switch how {
	case "Close":
		err := p.Close()
		var each sarama.ProducerErrors
		if err != nil && !errors.As(err, &each) {
			t.Errorf("Close returns %v", err)
		}
		failures = len(each)
	case "AsyncClose":
		p.AsyncClose()
	case "twice":
		p.AsyncClose()
		p.AsyncClose()
	default:
		inner.stop()
		p.Input() <- &sarama.ProducerMessage{Topic: "out"}
		if how == "inner first" {
			p.AsyncClose()
		}
		inner.finish()
	}
	results.Wait()
	return successes + failures
}

// panickingSync is sarama's own after Close.
type panickingSync struct{ sarama.SyncProducer }

func (panickingSync) SendMessage(*sarama.ProducerMessage) (int32, int64, error) {
	panic("send on closed channel")
}
func (panickingSync) SendMessages([]*sarama.ProducerMessage) error { panic("send on closed channel") }

// A producer that panics, as sarama's does once it is closed, goes on doing so, and its records have failed.
func TestSyncProducerThatPanics(t *testing.T) {
	for name, send := range map[string]func(p sarama.SyncProducer, msg *sarama.ProducerMessage){
		"SendMessage": func(p sarama.SyncProducer, msg *sarama.ProducerMessage) { _, _, _ = p.SendMessage(msg) },
		"SendMessages": func(p sarama.SyncProducer, msg *sarama.ProducerMessage) {
			_ = p.SendMessages([]*sarama.ProducerMessage{msg})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, inst := newInstrumentation(t, Options{Produces: []string{"out"}})
			p := WrapSyncProducer(panickingSync{}, inst)
			func() {
				defer func() {
					if got := recover(); got != "send on closed channel" {
						t.Errorf("the panic is %v", got)
					}
				}()
				send(p, &sarama.ProducerMessage{Topic: "out"})
			}()
			if span := r.Span("send out"); span.Status.Description != "panic" {
				t.Errorf("the span ends with %+v", span.Status)
			}
			if failed, flying := r.Metric(catalogue.KafkaSendFailuresTotal, nil), r.Metric(catalogue.KafkaProducerRecordsInFlight, nil); failed != 1 || flying != 0 {
				t.Errorf("%v records failed and %v are in flight, want 1 and 0", failed, flying)
			}
		})
	}
}
