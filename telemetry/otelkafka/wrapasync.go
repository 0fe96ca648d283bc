package otelkafka

import (
	"sync"

	"github.com/IBM/sarama"
)

// asyncBuffer is the size of the wrapper's channels, in records. Sarama's own have no buffer; these have one so
// that a record's way through the wrapper does not cost a change of goroutines.
const asyncBuffer = 256

// AsyncOption changes what [WrapAsyncProducer] does.
type AsyncOption func(*asyncProducer)

// DiscardSuccesses keeps acknowledged records from Successes, so that nobody has to read that channel. It is for
// users that leave Producer.Return.Successes off: turn it on for the wrapper, which learns from it what was
// acknowledged, and add this option.
func DiscardSuccesses() AsyncOption {
	return func(p *asyncProducer) { p.discard = true }
}

// WrapAsyncProducer returns a producer that sends by p, with one span "send <topic>" per record, from Input to its
// acknowledgement or failure, and every record that Kafka acknowledged counted. The parent of a span is what
// [WithContext] says. config is the configuration that p was made with; nil stands for sarama's default.
//
// What holds of p holds of the wrapper:
//
//   - The record that comes back is the one that was given, with the Metadata that was given.
//   - Successes and Errors must be read where Producer.Return.Successes and Producer.Return.Errors are on.
//   - Records of one goroutine keep their order, and all that was put into Input before BeginTxn, CommitTxn,
//     AbortTxn, AsyncClose or Close has reached p before that call has: a commit never overtakes a record.
//   - Close returns what failed meanwhile. When Successes and Errors are closed, no goroutine is left.
//
// The channels have a buffer of 256 records each. Where Producer.Return.Successes or Return.Errors is off, sarama
// does not say what became of a record: its span then ends as it is handed over, without partition and offset, and
// with Return.Successes off nothing is counted. See [DiscardSuccesses].
func WrapAsyncProducer(
	p sarama.AsyncProducer, config *sarama.Config, i *Instrumentation, options ...AsyncOption,
) sarama.AsyncProducer {
	if config == nil {
		config = sarama.NewConfig()
	}
	w := &asyncProducer{
		AsyncProducer: p,
		inst:          i,
		returnsErrors: config.Producer.Return.Errors,
		tracked:       config.Producer.Return.Successes && config.Producer.Return.Errors,
		input:         make(chan *sarama.ProducerMessage, asyncBuffer),
		successes:     make(chan *sarama.ProducerMessage, asyncBuffer),
		errors:        make(chan *sarama.ProducerError, asyncBuffer),
		flushMark:     &sarama.ProducerMessage{},
		stopMark:      &sarama.ProducerMessage{},
		flushed:       make(chan struct{}),
		returned:      make(chan struct{}),
		flight:        flight{spans: make(map[*sarama.ProducerMessage]*SendSpan)},
	}
	for _, option := range options {
		option(w)
	}
	w.start()
	return w
}

// asyncProducer has three goroutines: feed takes records from input to sarama, two others bring results back. They
// end when sarama's producer has ended.
type asyncProducer struct {
	sarama.AsyncProducer
	inst                   *Instrumentation
	returnsErrors, tracked bool
	discard                bool

	input     chan *sarama.ProducerMessage
	successes chan *sarama.ProducerMessage
	errors    chan *sarama.ProducerError

	// flushMark and stopMark go through input like records, and so behind them.
	flushMark, stopMark *sarama.ProducerMessage
	flushing            sync.Mutex
	flushed             chan struct{}
	stop                sync.Once
	returned            chan struct{} // closed when sarama has closed both of its channels

	flight flight
}

func (p *asyncProducer) start() {
	var results sync.WaitGroup
	results.Go(p.passSuccesses)
	results.Go(p.passErrors)
	go func() {
		results.Wait()
		close(p.returned)
		p.AsyncClose() // feed ends also when the user closed sarama's producer and not this one
	}()
	go p.feed()
}

// Input implements [sarama.AsyncProducer].
func (p *asyncProducer) Input() chan<- *sarama.ProducerMessage { return p.input }

// Successes implements [sarama.AsyncProducer].
func (p *asyncProducer) Successes() <-chan *sarama.ProducerMessage { return p.successes }

// Errors implements [sarama.AsyncProducer].
func (p *asyncProducer) Errors() <-chan *sarama.ProducerError { return p.errors }
