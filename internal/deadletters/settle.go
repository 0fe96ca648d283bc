package deadletters

import (
	"context"
	"errors"

	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

var (
	// ErrForeign: nobody knows where the letter came from.
	ErrForeign = errors.New("no consumer group has set it aside: there is nothing to replay")
	// ErrGone: retention has deleted the letter since it was listed.
	ErrGone = errors.New("no longer in the topic")
	// ErrUnmarked: the letter's record was published, its marker perhaps not.
	ErrUnmarked = errors.New("replayed, but perhaps not marked: if it stays listed, replaying it again is harmless")
)

// Settler replays and purges letters. Several may be at work at once, and
// beside running services: what is done twice has the effect of once.
type Settler struct {
	Source     Source
	Publisher  delivery.BatchPublisher
	Instrument *otelkafka.Instrumentation
}

// Outcome is what became of one letter.
type Outcome struct {
	Letter Letter
	Err    error // nil: replayed or purged, as was asked
}

// Replay publishes the records that letters hold to the topics they came from,
// with their own key, value and headers, and then marks the letters. The trace
// goes on in a span "send TOPIC", a child of the try that failed.
//
// The record is published first: a crash between the two leaves the letter
// listed, and a second replay is harmless, because consumers compare event
// ids. Letters that hold the same record, as those of several groups do, have
// it published once.
//
// report is told of each letter exactly once, by one goroutine at a time. The
// error is a failure to read; the letters it leaves are reported with it.
func (s Settler) Replay(ctx context.Context, letters []Letter, report func(Outcome)) error {
	return s.settle(ctx, record.Replayed, letters, report)
}

// Purge marks letters as not to be replayed. They stay in the topic until its
// retention deletes them. report and error are those of [Settler.Replay].
func (s Settler) Purge(ctx context.Context, letters []Letter, report func(Outcome)) error {
	return s.settle(ctx, record.Purged, letters, report)
}

func (s Settler) settle(ctx context.Context, kind string, letters []Letter, report func(Outcome)) error {
	r := &run{Settler: s, kind: kind, report: report, batches: map[record.Partition]*batch{}, left: map[record.Place]Letter{}, sent: map[digest]struct{}{}}
	for _, l := range letters {
		r.left[l.ID] = l
	}
	err := s.Source.Open(ctx, letters, func(w Whole) error {
		if full := r.add(w); full != nil {
			r.process(ctx, full)
		}
		return ctx.Err()
	})
	if err == nil {
		err = r.flush(ctx)
	}
	r.reportLeft(letters, err)
	return err
}
