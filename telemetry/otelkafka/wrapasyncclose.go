package otelkafka

import "github.com/IBM/sarama"

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

// flush waits until sarama has all records that were put into input before.
func (p *asyncProducer) flush() {
	p.flushing.Lock()
	defer p.flushing.Unlock()
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
