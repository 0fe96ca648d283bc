package delivery

import (
	"context"
	"errors"

	"github.com/vigie-dev/vigie/internal/record"
)

// report counts a batch once its transaction is stored: what storage has is
// what the metrics say, whatever was tried again before.
func (l *Loop[State, Change]) report(ctx context.Context, p record.Partition, decisions []decision[Change]) {
	l.deps.Instrument.Consumed(ctx, p.Topic, int64(len(decisions)))
	for _, d := range decisions {
		switch {
		case d.err == nil:
		case ClassOf(d.err).consequences().duplicate:
			l.deps.Failures.Duplicate(d.Context, p.Topic)
		default:
			reason := string(reasonOf(d.err))
			l.deps.Failures.Failed(d.Context, p.Topic, reason)
			if len(d.messages) > 0 {
				l.deps.Failures.DeadLettered(d.Context, p.Topic, reason)
			}
		}
	}
	if applied := changes(decisions); len(applied) > 0 {
		l.handler.Stored(applied)
	}
}

func reasonOf(err error) Reason {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Reason
	}
	return ""
}
