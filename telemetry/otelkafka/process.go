package otelkafka

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"
)

// ProcessSpan is the span of one record's handler.
type ProcessSpan struct {
	inst    *Instrumentation
	own     handling // the record's
	span    trace.Span
	options *topicOptions
	start   time.Time
	sent    time.Time // the record's timestamp
	place   *place    // among what is in hand
	lent    bool      // the place is the loop's
	leftOut bool
	failure atomic.Pointer[error] // of Fail
}

// handling is the context in which a record or a batch is handled.
type handling struct {
	context.Context
	of interface{ handlingFailed(err error) }
}

// handlingKey is where [Fail] and the spans of a batch's records find what is handled in a context.
type handlingKey struct{}

// Value implements [context.Context].
func (h *handling) Value(key any) any {
	if key == (handlingKey{}) {
		return h.of
	}
	return h.Context.Value(key)
}

// StartProcess starts the CONSUMER span "process <topic>", a child of the context in the record's headers, or a
// root without one; see [Instrumentation.Extract]. With [Options.LinkRecords] it is linked to that context instead.
// Deadline, cancellation and values are those of ctx. Start it just before the handler and end it just after, exactly
// once: the time between is the record's alone. Records sent on must be sent, or stored, with the context returned.
func (i *Instrumentation) StartProcess(ctx context.Context, msg *sarama.ConsumerMessage) (context.Context, *ProcessSpan) {
	p := &ProcessSpan{}
	p.begin(i, ctx, msg, nil)
	return &p.own, p
}

// begin is StartProcess for callers that have the span's memory, and maybe a loop.
func (p *ProcessSpan) begin(i *Instrumentation, ctx context.Context, msg *sarama.ConsumerMessage, of *loop) { //nolint:revive // what is begun comes first
	p.inst, p.start, p.sent = i, time.Now(), msg.Timestamp
	if p.lent = of != nil; p.lent {
		p.options, p.place = of.at(i, msg.Topic)
	} else {
		p.options = i.topics.get(msg.Topic)
		p.place = p.options.take()
	}
	p.options.begin(p.place, p.start, 1)
	if i.batching.Load() > 0 {
		if batch, ok := ctx.Value(handlingKey{}).(*Batch); ok {
			batch.timed.Store(true)
		}
	}
	ambient := trace.SpanContextFromContext(ctx)
	ctx = i.Extract(ctx, msg)
	sender := trace.SpanContextFromContext(ctx)
	parent, link := ctx, ambient
	if i.options.LinkRecords {
		parent, link = trace.ContextWithSpanContext(ctx, ambient), sender
	}
	p.own.of = p
	p.own.Context, p.span = i.tracer.Start(parent, //nolint:spancheck // ended by ProcessSpan.End
		p.options.processName, p.options.process...)
	if p.span.IsRecording() {
		p.span.SetAttributes(p.options.processAttributes...)
		p.span.SetAttributes(positionAttributes(msg.Partition, msg.Offset)...)
		p.span.SetAttributes(valueAttributes(msg.Value == nil, len(msg.Value), i.options.BodySize)...)
		if key, ok := keyAttribute(msg.Key); ok && !i.options.OmitKeys {
			p.span.SetAttributes(key)
		}
		if link.IsValid() && ambient.SpanID() != sender.SpanID() {
			p.span.AddLink(trace.Link{SpanContext: link})
		}
	}
}

// End ends the span and records its time in kafka_message_processing_duration_seconds, also for an error. The
// span's status then is the error's kind, by its method ErrorType() string if it has one; its text stays out. A record
// that failed, also by [Fail], counts in kafka_process_failures_total; of one that did not, the time since its timestamp goes
// into kafka_message_end_to_end_duration_seconds.
//
// End does not count the record as consumed: see [Instrumentation.CountConsumed].
func (p *ProcessSpan) End(err error) {
	now := time.Now()
	if p.lent {
		p.place.end()
	} else {
		p.options.leave(p.place)
	}
	if failure := p.failure.Load(); err == nil && failure != nil {
		err = *failure
	}
	seconds := now.Sub(p.start).Seconds()
	if !p.leftOut {
		p.inst.duration.Record(&p.own, seconds, p.options.record...)
		switch {
		case err != nil:
			p.options.failed.add(1)
		case dated(p.sent):
			p.inst.endToEnd.Record(&p.own, max(0, now.Sub(p.sent).Seconds()), p.options.endToEnd...)
		}
	}
	if p.inst.convention != nil {
		p.inst.convention.recordProcess(&p.own, p.options, 1, seconds, err)
	}
	if err != nil {
		fail(p.span, err)
	}
	p.span.End()
}

// handlingFailed takes note of [Fail].
func (p *ProcessSpan) handlingFailed(err error) { p.failure.Store(&err) }

// LeaveOut has the record not count in the documented metrics: see [SendSpan.LeaveOut].
func (p *ProcessSpan) LeaveOut() { p.leftOut = true }

// SpanContext identifies the span, to link it from a batch.
func (p *ProcessSpan) SpanContext() trace.SpanContext { return p.span.SpanContext() }

// Record is a record in the hands of a loop over [Instrumentation.Records].
type Record struct {
	*sarama.ConsumerMessage
	span ProcessSpan
	err  error
}

// Context returns the context of the record's handling: the session's, with the record's process span and the
// baggage from its headers. Records sent on are to be sent in it.
func (r *Record) Context() context.Context { return &r.span.own }

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
// call [Instrumentation.StartProcess] where the record is handled. For many records at once, see
// [Instrumentation.Batches].
func (i *Instrumentation) Records(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) iter.Seq[*Record] {
	return i.records(newReader(session, claim))
}

func (i *Instrumentation) records(next *reader) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		var current *Record
		var kept loop
		defer kept.leave()
		defer func() {
			if current != nil {
				current.span.End(errPanicked{})
			}
		}()
		for {
			msg := next.wait()
			if msg == nil {
				return
			}
			next.took(msg)
			current = &Record{ConsumerMessage: msg}
			current.span.begin(i, next.ctx, msg, &kept)
			more := yield(current)
			i.finish(current)
			if current.err == nil {
				next.passed(msg)
			}
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
		r.span.options.consumed.add(1)
	}
}

// errPanicked stands in the span of a record whose handler, or whose producer, panicked or called runtime.Goexit.
type errPanicked struct{}

func (errPanicked) Error() string     { return "panicked" }
func (errPanicked) ErrorType() string { return "panic" }

// reader takes a partition's records until the claim or the session ends.
type reader struct {
	ctx          context.Context //nolint:containedctx // the session's
	done         <-chan struct{}
	messages     <-chan *sarama.ConsumerMessage
	took, passed func(*sarama.ConsumerMessage) // are told of the first record in hand, and of the last that is done with
}

func newReader(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) *reader {
	ctx, nobody := session.Context(), func(*sarama.ConsumerMessage) {}
	r := &reader{ctx: ctx, done: ctx.Done(), messages: claim.Messages(), took: nobody, passed: nobody}
	if s, ok := session.(*trackedSession); ok {
		r.took = s.take // what is done with is for the handler to mark
	}
	return r
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

// Handle handles one record of a consumer group. ctx is the session's context with the record's process span.
type Handle func(ctx context.Context, session sarama.ConsumerGroupSession, msg *sarama.ConsumerMessage) error

// NewHandler returns a consumer group's handler that calls handle for each record, one after the other in each
// partition, with a process span around each call: the span covers that record's handling and nothing else.
//
// A record whose handle returns nil is marked and counted as consumed. An error fails the span and ends the claim
// with that error, the record unmarked: sarama reports it and begins a new session, which reads the record again.
// A handler that wants to pass over a record it cannot handle returns nil, after it has set the record aside and
// called [Fail].
//
// handle runs in the goroutine that sarama gives to the claim; none is started. When the session ends, records
// that sarama had fetched ahead are left to the partition's next owner.
func NewHandler(i *Instrumentation, handle Handle, options ...HandlerOption) sarama.ConsumerGroupHandler {
	return &recordHandler{handlerOptions: handlerOptionsOf(options), inst: i, handle: handle}
}

type recordHandler struct {
	handlerOptions
	inst   *Instrumentation
	handle Handle
}

// ConsumeClaim implements [sarama.ConsumerGroupHandler].
func (h *recordHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for record := range h.inst.Records(session, claim) {
		if err := h.handle(record.Context(), session, record.ConsumerMessage); err != nil {
			record.Fail(err)
			return err
		}
		session.MarkMessage(record.ConsumerMessage, "")
	}
	return nil
}

// Fail says that what is handled in ctx, a record or a batch, has failed, for a handler that has dealt with the failure
// itself and goes on: its metrics say so, and the span in ctx fails, with the kind of err and not its text. It still counts as
// consumed.
func Fail(ctx context.Context, err error) {
	fail(trace.SpanFromContext(ctx), err)
	if handled, ok := ctx.Value(handlingKey{}).(interface{ handlingFailed(err error) }); ok && err != nil {
		handled.handlingFailed(err)
	}
}

// HandlerOption adds to a handler made by [NewHandler] or [NewBatchHandler].
type HandlerOption func(*handlerOptions)

type handlerOptions struct {
	setup, cleanup func(sarama.ConsumerGroupSession) error
}

func handlerOptionsOf(options []HandlerOption) handlerOptions {
	var o handlerOptions
	for _, option := range options {
		option(&o)
	}
	return o
}

// OnSetup runs f when a session begins, as Setup of [sarama.ConsumerGroupHandler].
func OnSetup(f func(sarama.ConsumerGroupSession) error) HandlerOption {
	return func(o *handlerOptions) { o.setup = f }
}

// OnCleanup runs f when a session ends, as Cleanup of [sarama.ConsumerGroupHandler].
func OnCleanup(f func(sarama.ConsumerGroupSession) error) HandlerOption {
	return func(o *handlerOptions) { o.cleanup = f }
}

// Setup implements a part of [sarama.ConsumerGroupHandler].
func (o handlerOptions) Setup(session sarama.ConsumerGroupSession) error {
	if o.setup == nil {
		return nil
	}
	return o.setup(session)
}

// Cleanup implements a part of [sarama.ConsumerGroupHandler].
func (o handlerOptions) Cleanup(session sarama.ConsumerGroupSession) error {
	if o.cleanup == nil {
		return nil
	}
	return o.cleanup(session)
}
