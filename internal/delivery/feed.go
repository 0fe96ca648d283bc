package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// stillFor is how long a partition may give nothing before its log is asked
// whether there is something.
const stillFor = 5 * time.Second

// feed passes a partition's records on to its worker and watches that none is
// left out. A batch that cannot be decoded stops sarama for good, at all
// partitions that came with the same answer; it says so at most in passing, and
// asks for the same again. So where nothing comes, or an offset is left out, the
// feed reads the log itself: what can be read goes on to the worker, and a batch
// that cannot ends it.
type feed struct {
	partition record.Partition
	next      int64 // the first offset that was not passed on
	every     time.Duration
	// missed reads a log from an offset on, as [kafka.Client.Missed].
	missed func(context.Context, record.Partition, int64, func(record.Record) error) (int64, error)
	out    chan *sarama.ConsumerMessage
	err    error // what ended it, and waiting cannot fix; to be read once out is closed
}

// run passes records on until the claim is over, until ctx ends, or until a
// batch cannot be read. Then it closes out.
func (f *feed) run(ctx context.Context, claim <-chan *sarama.ConsumerMessage) {
	defer close(f.out)
	ticker := time.NewTicker(f.every)
	defer ticker.Stop()
	still := false
	for f.err == nil {
		select {
		case m, ok := <-claim:
			if !ok {
				return
			}
			still = false
			if m.Offset > f.next {
				f.fill(ctx, m.Offset, ticker.C)
			}
			if f.err == nil && m.Offset >= f.next {
				f.pass(ctx, m)
			}
		case <-ticker.C:
			if still {
				_, _ = f.readOn(ctx) // sarama tries as well, and tells
			}
			still = true
		case <-ctx.Done():
			return
		}
	}
}

// pass gives the worker a record.
func (f *feed) pass(ctx context.Context, m *sarama.ConsumerMessage) {
	select {
	case f.out <- m:
		f.next = m.Offset + 1
	case <-ctx.Done():
	}
}

// fill reads what was left out up to an offset: markers of transactions and what
// was aborted, or records that a wrong batch has had sarama skip.
func (f *feed) fill(ctx context.Context, to int64, again <-chan time.Time) {
	for f.err == nil && f.next < to {
		found, err := f.readOn(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, sarama.ErrOffsetOutOfRange):
			f.err = fmt.Errorf("%w: records %d to %d of %s were deleted before they were processed", ErrLogMismatch, f.next, to-1, f.partition)
		case err != nil: // Kafka is away
			select {
			case <-again:
			case <-ctx.Done():
			}
		case !found:
			return
		}
	}
}

// readOn reads a piece of the log and passes it on. It says whether there was any.
func (f *feed) readOn(ctx context.Context) (found bool, err error) {
	from := f.next
	next, err := f.missed(ctx, f.partition, from, func(r record.Record) error {
		f.pass(ctx, message(r))
		return ctx.Err()
	})
	if errors.Is(err, kafka.ErrUnreadable) {
		f.err = err
	}
	f.next = max(f.next, next)
	return f.next > from, err
}

// message is a record in sarama's form.
func message(r record.Record) *sarama.ConsumerMessage {
	m := &sarama.ConsumerMessage{Topic: r.Topic, Partition: r.ID, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: r.Time}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return m
}

// consumeClaim has a worker process what a feed passes on.
func (w *worker[State, Change]) consumeClaim(session context.Context, claim <-chan *sarama.ConsumerMessage) error {
	ctx, cancel := context.WithCancel(session)
	f := &feed{
		partition: w.partition, next: w.next, every: w.loop.still, missed: w.loop.deps.Control.Missed, out: make(chan *sarama.ConsumerMessage, cap(claim)),
	}
	ended := make(chan struct{})
	go func() { defer close(ended); f.run(ctx, claim) }()
	err := w.run(session, f.out)
	cancel()
	<-ended
	if err == nil && f.err != nil {
		err = fmt.Errorf("all before it has been processed: %w", f.err)
		w.loop.deps.Log.ErrorContext(session, "the log cannot be read on", "topic", w.partition.Topic, "partition", w.partition.ID, "offset", f.next, "error", f.err)
	}
	return err
}
