package otelkafka

import (
	"context"
	"iter"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"
)

// ProcessSpan is the span of one record's handler.
type ProcessSpan struct {
	inst    *Instrumentation
	ctx     context.Context
	span    trace.Span
	options *topicOptions
	start   time.Time
	leftOut bool
}

// StartProcess starts the CONSUMER span "process <topic>", a child of the context in the record's headers, or a
// root without one; see [Instrumentation.Extract]. With [Options.LinkRecords] it is linked to that context instead.
// Deadline, cancellation and values are those of ctx. Start it just before the handler and end it just after, exactly
// once: the time between is the record's alone. Records sent on must be sent, or stored, with the context returned.
func (i *Instrumentation) StartProcess(ctx context.Context, msg *sarama.ConsumerMessage) (context.Context, *ProcessSpan) {
	p := i.newProcess(ctx, msg)
	return p.ctx, &p
}

// newProcess is StartProcess for callers that keep the span themselves.
func (i *Instrumentation) newProcess(ctx context.Context, msg *sarama.ConsumerMessage) ProcessSpan {
	p := ProcessSpan{inst: i, options: i.topics.get(msg.Topic), start: time.Now()}
	ambient := trace.SpanContextFromContext(ctx)
	ctx = i.Extract(ctx, msg)
	sender := trace.SpanContextFromContext(ctx)
	parent, link := ctx, ambient
	if i.options.LinkRecords {
		parent, link = trace.ContextWithSpanContext(ctx, ambient), sender
	}
	p.ctx, p.span = i.tracer.Start(parent, //nolint:spancheck // ended by ProcessSpan.End
		p.options.processName, p.options.process...)
	if p.span.IsRecording() {
		p.span.SetAttributes(p.options.processAttributes...)
		p.span.SetAttributes(positionAttributes(msg.Partition, msg.Offset)...)
		p.span.SetAttributes(valueAttributes(msg.Value == nil, len(msg.Value), i.options.BodySize)...)
		if key, ok := keyAttribute(msg.Key); ok {
			p.span.SetAttributes(key)
		}
		if link.IsValid() && ambient.SpanID() != sender.SpanID() {
			p.span.AddLink(trace.Link{SpanContext: link})
		}
	}
	return p
}

// End ends the span and records its time in kafka_message_processing_duration_seconds, also for an error. The
// span's status then is the error's kind, by its method ErrorType() string if it has one; its text stays out.
// End does not count the record as consumed: see [Instrumentation.CountConsumed].
func (p *ProcessSpan) End(err error) {
	seconds := time.Since(p.start).Seconds()
	if !p.leftOut {
		p.inst.duration.Record(p.ctx, seconds, p.options.record...)
	}
	if p.inst.convention != nil {
		p.inst.convention.recordProcess(p.ctx, p.options, seconds, err)
	}
	if err != nil {
		fail(p.span, err)
	}
	p.span.End()
}

// LeaveOut has the record's time not count in kafka_message_processing_duration_seconds: see [SendSpan.LeaveOut].
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
			took(session, msg)
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
		i.CountConsumed(r.span.ctx, r.Topic, 1)
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

// Fail marks the span in ctx as failed, with the kind of err and not its text, for a handler that has dealt with
// the failure itself and goes on.
func Fail(ctx context.Context, err error) { fail(trace.SpanFromContext(ctx), err) }

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
