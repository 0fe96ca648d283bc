package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// A batch that cannot be read ends the consumer, named, once all before it has
// been processed: sarama would ask for it for ever.
func TestABatchThatCannotBeReadEndsTheConsumer(t *testing.T) {
	t.Parallel()
	for kind, batch := range testkafka.Unreadable(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			cfg, client := testkafka.Credulous(t)
			f.at(t, cfg, client)
			fill(t, cfg, 3)
			testkafka.Put(t, cfg, source, 0, batch)
			fill(t, cfg, 2)
			loop, err := NewLoop(t.Context(), f.cfg, f.deps, f.handler)
			if err != nil {
				t.Fatal(err)
			}
			loop.still = 20 * time.Millisecond
			err = loop.Run(t.Context())
			unreadable, ok := errors.AsType[*kafka.UnreadableError](err)
			if !ok || unreadable.Partition != f.partition || unreadable.Offset != 3 {
				t.Errorf("the consumer ended with %v", err)
			}
			if got := f.position(t); got != 3 {
				t.Errorf("the position is %d, want that of the batch", got)
			}
			if lines := fmt.Sprint(f.telemetry.Logs()); !strings.Contains(lines, "the log cannot be read on") {
				t.Errorf("the log does not tell: %s", lines)
			}
			if err := loop.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// feeding runs a feed on a log of which the claim gives what it is sent.
func feeding(t *testing.T, missed func(from int64, read func(record.Record) error) (int64, error)) (f *feed, claim chan *sarama.ConsumerMessage) {
	f = &feed{
		every: stillFor, out: make(chan *sarama.ConsumerMessage, 100),
		missed: func(_ context.Context, _ record.Partition, from int64, read func(record.Record) error) (int64, error) {
			return missed(from, read)
		},
	}
	claim = make(chan *sarama.ConsumerMessage)
	go f.run(t.Context(), claim)
	return f, claim
}

// passed is what a feed has passed on until it ended.
func passed(f *feed) (offsets []int64) {
	for m := range f.out {
		offsets = append(offsets, m.Offset)
	}
	return offsets
}

// What a claim leaves out is read from the log, once, whatever it gives later.
func TestWhatAClaimLeavesOutIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := true
		f, claim := feeding(t, func(from int64, read func(record.Record) error) (int64, error) {
			if away {
				away = false
				return from, errors.New("away")
			}
			for at := from; at < 6; at++ {
				if at == 3 { // a marker
					continue
				}
				if err := read(record.Record{Place: record.Place{Offset: at}}); err != nil {
					return from, err
				}
			}
			return 6, nil
		})
		claim <- &sarama.ConsumerMessage{Offset: 0}
		claim <- &sarama.ConsumerMessage{Offset: 4} // 1 to 3 are left out
		claim <- &sarama.ConsumerMessage{Offset: 5}
		claim <- &sarama.ConsumerMessage{Offset: 6}
		_ = lifecycle.Sleep(t.Context(), 10*stillFor)
		close(claim)
		if got, want := passed(f), []int64{0, 1, 2, 4, 5, 6}; !slices.Equal(got, want) || f.err != nil {
			t.Errorf("passed on %v, want %v; %v", got, want, f.err)
		}
	})
}

// Where nothing comes although the log has something, it is read, up to what
// cannot be.
func TestAClaimThatStandsStillIsHelped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, claim := feeding(t, func(from int64, read func(record.Record) error) (int64, error) {
			if from == 2 {
				return from, &kafka.UnreadableError{Place: record.Place{Offset: 2}}
			}
			return from + 1, read(record.Record{Place: record.Place{Offset: from}})
		})
		if got := passed(f); !slices.Equal(got, []int64{0, 1}) || !errors.Is(f.err, kafka.ErrUnreadable) {
			t.Errorf("passed on %v, then %v", got, f.err)
		}
		close(claim)
	})
}

// Records that were deleted before they came are not passed over in silence.
func TestRecordsThatWereDeletedEndAFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, claim := feeding(t, func(from int64, _ func(record.Record) error) (int64, error) { return from, sarama.ErrOffsetOutOfRange })
		claim <- &sarama.ConsumerMessage{Offset: 7}
		if got := passed(f); len(got) != 0 || !errors.Is(f.err, ErrLogMismatch) {
			t.Errorf("passed on %v, then %v", got, f.err)
		}
	})
}
