package otelkafka

import (
	"context"
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
// acknowledgement or failure, and every record that Kafka acknowledged counted. The parent of a span is that of
// [WithContext]. config is the configuration that p was made with; nil stands for sarama's default.
//
// What is true of p is true of the wrapper:
//
//   - The record that comes back is the one that was given, with the Metadata that was given.
//   - Successes and Errors must be read where Producer.Return.Successes and Producer.Return.Errors are on.
//   - Records of one goroutine keep their order, and all that was put into Input before BeginTxn, CommitTxn,
//     AbortTxn, AsyncClose or Close has reached p before that call has: a commit never overtakes a record.
//   - Close returns what failed meanwhile. When Successes and Errors are closed, no goroutine is left.
//
// The channels have a buffer of 256 records each. Where Producer.Return.Successes or Return.Errors is off, sarama
// does not say what became of a record: its span then ends as it is handed over, without partition and offset, and
// with Return.Successes off no acknowledged record is counted, which a line of the log says here. What sarama does say
// is counted and, as a failure, has a span of its own below the record's. See [DiscardSuccesses].
//
// Where the configuration's Version is below V0_11_0_0, Kafka knows no headers, and records get none. A producer that is
// wrapped already is returned as it is. It panics if p or i is nil. Close the wrapper and leave p alone: records that p,
// closed first, no longer takes fail as sarama's own would.
func WrapAsyncProducer(
	p sarama.AsyncProducer, config *sarama.Config, i *Instrumentation, options ...AsyncOption,
) sarama.AsyncProducer {
	if p == nil || i == nil {
		panic("otelkafka: WrapAsyncProducer: the producer or the instrumentation is nil")
	}
	if _, wrapped := p.(*asyncProducer); wrapped {
		return p
	}
	if config == nil {
		config = sarama.NewConfig()
	}
	i.reportUnseen(config)
	w := &asyncProducer{
		AsyncProducer: p,
		inst:          i,
		returnsErrors: config.Producer.Return.Errors,
		headers:       hasHeaders(config),
		tracked:       config.Producer.Return.Successes && config.Producer.Return.Errors,
		input:         make(chan *sarama.ProducerMessage, asyncBuffer),
		successes:     make(chan *sarama.ProducerMessage, asyncBuffer),
		errors:        make(chan *sarama.ProducerError, asyncBuffer),
		flushMark:     &sarama.ProducerMessage{},
		stopMark:      &sarama.ProducerMessage{},
		flushed:       make(chan struct{}),
		returned:      make(chan struct{}),
		spans:         make(map[*sarama.ProducerMessage]*SendSpan),
	}
	for _, option := range options {
		option(w)
	}
	w.start()
	return w
}

// reportUnseen logs what an asynchronous producer with that configuration leaves unsaid.
func (i *Instrumentation) reportUnseen(config *sarama.Config) {
	if !config.Producer.Return.Successes {
		i.logger.Warn("acknowledged records of this producer are not counted: Producer.Return.Successes is off")
	}
	if !config.Producer.Return.Errors {
		i.logger.Warn("failed records of this producer are not seen: Producer.Return.Errors is off")
	}
	i.reportHeaderless(config)
}

// asyncProducer has three goroutines: feed takes records from input to sarama, two others bring results back. They
// end when sarama's producer has ended.
type asyncProducer struct {
	sarama.AsyncProducer
	inst                   *Instrumentation
	returnsErrors, tracked bool
	discard, headers       bool
	unobserve              func() // nil for a producer that was wrapped

	input     chan *sarama.ProducerMessage
	successes chan *sarama.ProducerMessage
	errors    chan *sarama.ProducerError

	// flushMark and stopMark go through input like records, and so behind them.
	flushMark, stopMark *sarama.ProducerMessage
	flushing            sync.Mutex
	flushed             chan struct{}
	stop                sync.Once
	returned            chan struct{} // closed when sarama has closed both of its channels

	// spans are those of records that sarama has, by the record itself: Metadata stays the user's, also for
	// partitioners and interceptors. Without the conventions' metrics only sampled records are in it, and never more
	// than sarama has in progress.
	spansMu sync.Mutex
	spans   map[*sarama.ProducerMessage]*SendSpan
}

func (p *asyncProducer) start() {
	var results sync.WaitGroup
	results.Go(p.passSuccesses)
	results.Go(p.passErrors)
	go func() {
		results.Wait()
		close(p.returned)
		if p.unobserve != nil {
			p.unobserve()
		}
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

// feed passes records on in their order until the producer is closed.
func (p *asyncProducer) feed() {
	if msg, closed := p.pass(); closed {
		asked := true // the mark of stopping is on its way
		p.stop.Do(func() { asked = false })
		p.returnLate(msg)
		p.drain(asked)
		return
	}
	select {
	case <-p.returned:
	default:
		p.AsyncProducer.AsyncClose()
	}
	p.drain(false)
}

// pass passes records on until it is told to stop or sarama's producer, closed by somebody else, takes no more: it then
// returns the record that was left.
func (p *asyncProducer) pass() (current *sarama.ProducerMessage, closed bool) {
	sending := false
	defer func() {
		if sending && recover() != nil { // of a send on a closed channel, and of nothing else
			closed = true
		}
	}()
	next := p.AsyncProducer.Input()
	for current = range p.input {
		switch current {
		case p.flushMark:
			p.flushed <- struct{}{}
			continue
		case p.stopMark:
			return nil, false
		case nil: // sarama logs it
		default:
			p.startSpan(current)
		}
		sending = true
		next <- current
		sending = false
	}
	return nil, false
}

// startSpan starts the record's span, and ends it where nothing more will be heard of the record.
func (p *asyncProducer) startSpan(msg *sarama.ProducerMessage) {
	headers := msg.Headers
	span := p.inst.newSend(p.inst.takeContext(msg), msg)
	if !p.headers {
		msg.Headers = headers
	}
	if !p.tracked || (p.inst.convention == nil && !span.SpanContext().IsSampled()) {
		span.span.End()
		if !p.tracked { // nobody says when it is there
			span.options.land()
		}
		return
	}
	p.spansMu.Lock()
	earlier := p.spans[msg]
	p.spans[msg] = &span
	p.spansMu.Unlock()
	if earlier != nil { // a record sent twice at once: nothing can distinguish the two
		earlier.span.End()
	}
}

// passSuccesses ends the spans of acknowledged records and passes them on.
func (p *asyncProducer) passSuccesses() {
	defer close(p.successes)
	for msg := range p.AsyncProducer.Successes() {
		p.endSpan(msg, nil)
		if !p.discard {
			p.successes <- msg
		}
	}
}

// passErrors ends the spans of failed records and passes them on. feed closes the channel, having errors of its own.
func (p *asyncProducer) passErrors() {
	for failed := range p.AsyncProducer.Errors() {
		if failed.Msg != nil {
			p.endSpan(failed.Msg, failed.Err)
		}
		p.errors <- failed
	}
}

// endSpan ends the record's span, if it has one, and counts the record. A record whose span has ended when it was handed
// over fails in a span below that one, where nothing was said of the record since.
func (p *asyncProducer) endSpan(msg *sarama.ProducerMessage, err error) {
	p.spansMu.Lock()
	span := p.spans[msg]
	delete(p.spans, msg)
	p.spansMu.Unlock()
	if span != nil {
		span.End(msg.Partition, msg.Offset, err)
		return
	}
	options := p.inst.topics.get(msg.Topic)
	if p.tracked {
		options.land()
	}
	switch {
	case err == nil:
		p.inst.addProduced(context.Background(), options, 1)
	case p.tracked:
		options.sendFailed.add(1)
	default:
		failed := *msg // its headers stay what sarama was given
		span := p.inst.newSend(p.inst.takeContext(&failed), &failed)
		span.End(0, 0, err)
	}
}

// flush waits until sarama has all records that were put into input before. Of a closed producer it has them.
func (p *asyncProducer) flush() {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	defer func() { _ = recover() }() // of a send on a closed channel: what the call is for is then sarama's to refuse
	p.input <- p.flushMark
	<-p.flushed
}

// BeginTxn implements [sarama.AsyncProducer]. Records put into Input before it are no part of the transaction.
func (p *asyncProducer) BeginTxn() error {
	p.flush()
	return p.AsyncProducer.BeginTxn()
}

// CommitTxn implements [sarama.AsyncProducer]. Records put into Input before it are part of the transaction.
func (p *asyncProducer) CommitTxn() error {
	p.flush()
	return p.AsyncProducer.CommitTxn()
}

// AbortTxn implements [sarama.AsyncProducer]. Records put into Input before it are part of the transaction.
func (p *asyncProducer) AbortTxn() error {
	p.flush()
	return p.AsyncProducer.AbortTxn()
}

// AsyncClose implements [sarama.AsyncProducer].
func (p *asyncProducer) AsyncClose() {
	// As with sarama, the call returns at once though the channel may be full. The goroutine ends when feed, which
	// runs until it sees the mark, has made room.
	p.stop.Do(func() { go func() { p.input <- p.stopMark }() })
}

// Close implements [sarama.AsyncProducer].
func (p *asyncProducer) Close() error {
	p.AsyncClose()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for range p.successes { // they have been counted
		}
	}()
	var failed sarama.ProducerErrors
	for e := range p.errors {
		failed = append(failed, e)
	}
	<-drained
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// drain waits until sarama's producer is closed. Until then, records that come too late fail as sarama fails them; after
// that, sending panics as it does with sarama. asked says that the mark of stopping is still to come.
func (p *asyncProducer) drain(asked bool) {
	for returned := p.returned; returned != nil || asked; {
		select {
		case msg := <-p.input:
			asked = asked && msg != p.stopMark
			p.refuse(msg)
		case <-returned:
			returned = nil
		}
	}
	close(p.input)
	for msg := range p.input {
		p.refuse(msg)
	}
	p.abandonSpans()
	close(p.errors)
}

func (p *asyncProducer) refuse(msg *sarama.ProducerMessage) {
	switch msg {
	case p.flushMark:
		p.flushed <- struct{}{}
	case p.stopMark, nil:
	default:
		p.inst.topics.get(msg.Topic).sendFailed.add(1)
		if s, ok := msg.Metadata.(*sending); ok {
			msg.Metadata = s.metadata
		}
		p.giveBack(msg)
	}
}

// returnLate fails a record that has its span, and that sarama did not take.
func (p *asyncProducer) returnLate(msg *sarama.ProducerMessage) {
	if msg != nil {
		p.endSpan(msg, sarama.ErrShuttingDown)
		p.giveBack(msg)
	}
}

func (p *asyncProducer) giveBack(msg *sarama.ProducerMessage) {
	if p.returnsErrors {
		p.errors <- &sarama.ProducerError{Msg: msg, Err: sarama.ErrShuttingDown}
	}
}

// abandonSpans ends those of records that sarama's producer closed without a word about.
func (p *asyncProducer) abandonSpans() {
	p.spansMu.Lock()
	defer p.spansMu.Unlock()
	for msg, span := range p.spans {
		span.End(0, 0, sarama.ErrShuttingDown)
		delete(p.spans, msg)
	}
}
