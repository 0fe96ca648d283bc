package otelkafka

import (
	"errors"

	"github.com/IBM/sarama"
)

// WrapSyncProducer returns a producer that sends by p, with one span "send <topic>" per record and every record
// that Kafka acknowledged counted. Each record's span has its own outcome, also in SendMessages. The parent of a
// span is what [WithContext] says. All other methods, transactions included, are p's own. The record comes back as
// it was given, but for the headers that carry its trace context; the wrapper starts no goroutine.
//
// Kafka must know headers: sarama's Config.Version must be V0_11_0_0 or newer, as its default is.
func WrapSyncProducer(p sarama.SyncProducer, i *Instrumentation) sarama.SyncProducer {
	return &syncProducer{SyncProducer: p, inst: i}
}

type syncProducer struct {
	sarama.SyncProducer
	inst *Instrumentation
}

// SendMessage implements [sarama.SyncProducer].
func (p *syncProducer) SendMessage(msg *sarama.ProducerMessage) (partition int32, offset int64, err error) {
	span := p.inst.newSend(p.inst.takeContext(msg), msg)
	partition, offset, err = p.SyncProducer.SendMessage(msg)
	span.End(partition, offset, err)
	return partition, offset, err
}

// SendMessages implements [sarama.SyncProducer].
func (p *syncProducer) SendMessages(msgs []*sarama.ProducerMessage) error {
	spans := make([]SendSpan, len(msgs))
	for n, msg := range msgs {
		spans[n] = p.inst.newSend(p.inst.takeContext(msg), msg)
	}
	err := p.SyncProducer.SendMessages(msgs)
	failed := failuresOf(err)
	for n, msg := range msgs {
		spans[n].End(msg.Partition, msg.Offset, failed.of(msg))
	}
	return err
}

// sendFailures says which records of a batch failed, and why.
type sendFailures struct {
	all    error // of a producer that does not say which
	byItem map[*sarama.ProducerMessage]error
}

func failuresOf(err error) sendFailures {
	var each sarama.ProducerErrors
	if err == nil || !errors.As(err, &each) {
		return sendFailures{all: err}
	}
	f := sendFailures{byItem: make(map[*sarama.ProducerMessage]error, len(each))}
	for _, e := range each {
		f.byItem[e.Msg] = e.Err
	}
	return f
}

func (f sendFailures) of(msg *sarama.ProducerMessage) error {
	if f.all != nil {
		return f.all
	}
	return f.byItem[msg]
}
