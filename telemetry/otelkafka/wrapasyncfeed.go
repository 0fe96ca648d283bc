package otelkafka

import "github.com/IBM/sarama"

// feed passes records on in their order until the producer is closed.
func (p *asyncProducer) feed() {
	next := p.AsyncProducer.Input()
	for msg := range p.input {
		switch msg {
		case p.flushMark:
			p.flushed <- struct{}{}
		case p.stopMark:
			p.shutDown()
			return
		case nil: // sarama logs it
			next <- nil
		default:
			p.send(msg)
			next <- msg
		}
	}
}

// send starts the record's span, and ends it where nothing more will be heard of the record.
func (p *asyncProducer) send(msg *sarama.ProducerMessage) {
	span := p.inst.newSend(p.inst.takeContext(msg), msg)
	switch {
	case p.tracked && (span.SpanContext().IsSampled() || p.inst.convention != nil):
		p.flight.put(msg, span)
	default:
		span.span.End()
	}
}

// shutDown closes sarama's producer. Until it is closed, records that come too late fail as sarama fails them;
// after that, sending panics as it does with sarama.
func (p *asyncProducer) shutDown() {
	select {
	case <-p.returned:
	default:
		p.AsyncProducer.AsyncClose()
	}
	for {
		select {
		case msg := <-p.input:
			p.refuse(msg)
		case <-p.returned:
			close(p.input)
			for msg := range p.input {
				p.refuse(msg)
			}
			p.flight.abandon()
			close(p.errors)
			return
		}
	}
}

func (p *asyncProducer) refuse(msg *sarama.ProducerMessage) {
	switch {
	case msg == p.flushMark:
		p.flushed <- struct{}{}
	case msg != nil && p.returnsErrors:
		if s, ok := msg.Metadata.(*sending); ok {
			msg.Metadata = s.metadata
		}
		p.errors <- &sarama.ProducerError{Msg: msg, Err: sarama.ErrShuttingDown}
	}
}

// passSuccesses ends the spans of acknowledged records and passes them on.
func (p *asyncProducer) passSuccesses() {
	defer close(p.successes)
	for msg := range p.AsyncProducer.Successes() {
		p.end(msg, nil)
		if !p.discard {
			p.successes <- msg
		}
	}
}

// passErrors ends the spans of failed records and passes them on. feed closes the channel, having errors of its own.
func (p *asyncProducer) passErrors() {
	for failed := range p.AsyncProducer.Errors() {
		if failed.Msg != nil {
			p.end(failed.Msg, failed.Err)
		}
		p.errors <- failed
	}
}
