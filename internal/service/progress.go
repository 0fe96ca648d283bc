package service

import (
	"context"
	"sync/atomic"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// Progress tells how far a consumer is.
type Progress struct {
	joined func(context.Context) error
	lag    *otelkafka.Lag
	store  *storage.Store
	missed []kafka.Span // what was in the log at the start; none for who is alone, whose lag says it all
	passed atomic.Bool  // storage has all of it
}

// CatchingUp says whether the service still reads what it missed: records that
// were in the log when this instance started, whichever instance reads them, or
// when it was given its partitions.
func (p *Progress) CatchingUp(ctx context.Context) bool {
	return p.joined(ctx) != nil || !p.lag.CaughtUp() || !p.read(ctx)
}

// read says whether storage has come to where the log ended.
func (p *Progress) read(ctx context.Context) bool {
	if p.passed.Load() {
		return true
	}
	for _, span := range p.missed {
		next, known, err := p.store.Position(ctx, span.Partition)
		if err != nil || known && next < span.End || !known && span.Start < span.End {
			return false
		}
	}
	p.passed.Store(true)
	return true
}
