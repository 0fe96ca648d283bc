package otelkafka

import (
	"context"
	"iter"

	"github.com/IBM/sarama"
)

// Record is a record in the hands of a loop over [Instrumentation.Records].
type Record struct {
	*sarama.ConsumerMessage
	span ProcessSpan
	err  error
}

// Context returns the context of the record's handling: the session's, with the record's process span and the
// baggage from its headers. Records sent on are to be sent in it.
func (r *Record) Context() context.Context { return r.span.ctx }

// Fail says that handling the record failed: its span then fails with the error's kind, and the record does not
// count as consumed.
func (r *Record) Fail(err error) { r.err = err }

// Records returns the claim's records for a loop in ConsumeClaim:
//
//	for record := range inst.Records(session, claim) {
//		if err := handle(record.Context(), record.ConsumerMessage); err != nil {
//			record.Fail(err)
//			return err
//		}
//		session.MarkMessage(record.ConsumerMessage, "")
//	}
//
// A record's process span begins before the loop's body and ends after it, however the body is left, so it covers
// this record's handling and nothing else. Then its time is recorded, and unless [Record.Fail] was called it counts
// as consumed. The loop ends when the claim does, or the session: records that sarama had fetched ahead are left to
// the partition's next owner. Nothing is marked for the user, and no goroutine is started.
//
// A body that hands the record to another goroutine ends its span by that. There, read the claim's own Messages and
// call [Instrumentation.StartProcess] where the record is handled.
func (i *Instrumentation) Records(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) iter.Seq[*Record] {
	session, claim = unwatched(session, claim)
	return func(yield func(*Record) bool) {
		var current *Record
		defer func() {
			if current != nil {
				current.span.End(errPanicked{})
			}
		}()
		next := newReader(session, claim)
		for {
			msg := next.wait()
			if msg == nil {
				return
			}
			current = &Record{ConsumerMessage: msg, span: i.newProcess(next.ctx, msg)}
			more := yield(current)
			i.finish(current)
			current = nil
			if !more {
				return
			}
		}
	}
}

func (i *Instrumentation) finish(r *Record) {
	r.span.End(r.err)
	if r.err == nil {
		i.Consumed(r.span.ctx, r.Topic, 1)
	}
}

// errPanicked stands in the span of a record whose handler panicked or called runtime.Goexit.
type errPanicked struct{}

func (errPanicked) Error() string     { return "handler panicked" }
func (errPanicked) ErrorType() string { return "panic" }

// reader takes a claim's records until the claim or the session ends.
type reader struct {
	ctx      context.Context //nolint:containedctx // the session's
	done     <-chan struct{}
	messages <-chan *sarama.ConsumerMessage
}

func newReader(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) *reader {
	ctx := session.Context()
	return &reader{ctx: ctx, done: ctx.Done(), messages: claim.Messages()}
}

// wait returns the next record, or nil at the end.
func (r *reader) wait() *sarama.ConsumerMessage {
	if r.ctx.Err() != nil {
		return nil
	}
	if msg, ok := r.poll(); ok {
		return msg
	}
	select { // sarama may leave Messages open and empty while it looks for a lost broker
	case msg := <-r.messages:
		return msg
	case <-r.done:
		return nil
	}
}

// poll returns the next record, or nil at the end of the claim; false when none is there yet.
func (r *reader) poll() (*sarama.ConsumerMessage, bool) {
	select {
	case msg := <-r.messages:
		return msg, true
	default:
		return nil, false
	}
}
