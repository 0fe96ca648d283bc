package audit

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/testenv/checks"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) {
	checks.Set("20", "100")
	leaks.Main(m)
}

// over is an audit of a world; before is called before each look's state is
// read, with the number of the look.
func (w *world) over(patience time.Duration, before func(look int)) Config {
	look := 0
	return Config{
		Bounds: func(topics ...string) ([]kafka.Span, error) { return w.spans(topics...), nil },
		Written: func(_ context.Context, topics ...string) (map[record.Partition]int64, error) {
			return ends(w.spans(topics...)), nil
		},
		Scan: func(_ context.Context, spans []kafka.Span, read func(record.Record) error) error {
			return w.scan(spans, read)
		},
		State: func(_ context.Context, rows *Rows) (State, error) {
			look++
			if before != nil {
				before(look)
			}
			s := w.state()
			return s.State, s.give(rows)
		},
		Patience: patience, Limit: math.MaxInt,
	}
}

// missingRow is a settled world in which order-3 has lost its ledger row.
func missingRow() (*world, LedgerRow) {
	w := settled()
	row := w.ledger["order-3"]
	delete(w.ledger, "order-3")
	return w, row
}

func TestWhatGoesAwayIsNoDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, row := missingRow()
		began := time.Now()
		got, err := Run(t.Context(), w.over(10*time.Second, func(look int) {
			if look == 3 {
				w.ledger["order-3"] = row
			}
		}))
		if err != nil || !got.AccountedFor || got.Looks != 3 {
			t.Errorf("%+v, %v", got, err)
		}
		if took := time.Since(began); took != 2*pause {
			t.Errorf("it took %v, want two pauses", took)
		}
	})
}

func TestWhatStaysIsADifference(t *testing.T) {
	for _, patience := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w, _ := missingRow()
			began := time.Now()
			got, err := Run(t.Context(), w.over(patience, nil))
			if diff := cmp.Diff([]string{"result_without_ledger order-3"}, named(got)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if took := time.Since(began); took != patience {
				t.Errorf("it took %v, patience was %v", took, patience)
			}
		})
	}
}

// A system under load may show something new at every look. What was not
// there at the first is on its way; its order stays in the account.
func TestOnlyWhatStaysFromTheFirstLookCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := missingRow()
		got, err := Run(t.Context(), w.over(time.Second, func(look int) {
			if look > 1 { // each look sees another order that seems lost
				_, at := w.create(banking.Money(look))
				w.paiement[at.Partition] = at.Offset + 1
			}
		}))
		checkSums(t, got)
		if diff := cmp.Diff([]string{"result_without_ledger order-3"}, named(got)); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if got.Looks < 3 || got.Unaccounted.Count != 0 || got.InFlight.Count != int64(got.Looks-1) {
			t.Errorf("%+v", got)
		}
	})
}

// Looking again reads only the records that are new.
func TestALookReadsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := missingRow()
		cfg := w.over(time.Second, func(int) { w.create(1) })
		before := int64(0)
		for _, s := range w.spans(topics()...) {
			before += s.End
		}
		var reads atomic.Int64
		scan := cfg.Scan
		cfg.Scan = func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
			return scan(ctx, spans, func(r record.Record) error { reads.Add(1); return read(r) })
		}
		var last [2]int64
		cfg.Progress = func(done, all int64) { last = [2]int64{done, all} }
		got, err := Run(t.Context(), cfg)
		if err != nil || reads.Load() != before+int64(got.Looks) || got.Records != reads.Load() {
			t.Errorf("%d records read in %d looks at a log that had %d (%d in the report), %v",
				reads.Load(), got.Looks, before, got.Records, err)
		}
		if last != [2]int64{1, 1} {
			t.Errorf("progress of the last look %v, want 1 of 1", last)
		}
	})
}

func TestErrorsEndAnAudit(t *testing.T) {
	broken := errors.New("broken")
	for name, spoil := range map[string]func(*Config){
		"bounds": func(c *Config) { c.Bounds = func(...string) ([]kafka.Span, error) { return nil, broken } },
		"state":  func(c *Config) { c.State = func(context.Context, *Rows) (State, error) { return State{}, broken } },
		"scan": func(c *Config) {
			c.Scan = func(context.Context, []kafka.Span, func(record.Record) error) error { return broken }
		},
		"cancelled while waiting": func(c *Config) { c.Patience = time.Hour },
	} {
		synctest.Test(t, func(t *testing.T) {
			w, _ := missingRow()
			cfg := w.over(0, nil)
			spoil(&cfg)
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, broken)
			defer cancel()
			if _, err := Run(ctx, cfg); !errors.Is(err, broken) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v", name, err)
			}
		})
	}
}

// ends are where the spans end.
func ends(spans []kafka.Span) map[record.Partition]int64 {
	out := map[record.Partition]int64{}
	for _, s := range spans {
		out[s.Partition] = s.End
	}
	return out
}

// hiding hides the last record of a topic's log in an order's partition, as an
// open transaction does, for so many looks.
func (w *world) hiding(cfg Config, topic, id string, looks int) Config {
	looks *= 2 // each asks twice
	cfg.Bounds = func(topics ...string) ([]kafka.Span, error) {
		spans := w.spans(topics...)
		for i := range spans {
			if spans[i].Partition == partitionOf(topic, id) && looks > 0 {
				spans[i].End--
			}
		}
		looks--
		return spans, nil
	}
	return cfg
}

// An open transaction hides what stands behind it, also from the services: the
// audit says that it cannot tell, and calls nothing of that lost.
func TestWhatATransactionHidesCannotBeTold(t *testing.T) {
	for name, tt := range map[string]struct {
		topic   string
		decided bool
	}{
		"an order":    {banking.TopicOrdersCreated, false},
		"a decision":  {banking.TopicPaymentsAuthorized, true},
		"dead letter": {banking.TopicOrdersDLQ, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled()
			w.fails = func(banking.OrderCreated) bool { return tt.topic == banking.TopicOrdersDLQ }
			order, at := w.create(101)
			for tt.decided && w.decide(at.ID) {
			}
			w.flush()
			w.mark()
			got, err := Run(t.Context(), w.hiding(w.over(0, nil), tt.topic, order.OrderID, 1))
			if err != nil || got.AccountedFor || got.DifferenceCount != 0 || !strings.Contains(strings.Join(got.CannotTellWhy, "\n"), "an open transaction hides what stands in "+tt.topic) {
				t.Errorf("%v, cannot tell %q, %v", named(got), got.CannotTellWhy, err)
			}
		})
	}
}

func TestATransactionIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled()
		order, _ := w.create(100)
		got, err := Run(t.Context(), w.hiding(w.over(10*time.Second, nil), banking.TopicOrdersCreated, order.OrderID, 2))
		if err != nil || !got.AccountedFor || got.Looks != 3 {
			t.Errorf("%v, cannot tell %q, %d looks, %v", named(got), got.CannotTellWhy, got.Looks, err)
		}
	})
}

// A log that gives nothing more before its end does not delay the audit for
// ever; one that is merely long may take its time.
func TestALogThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled()
		cfg := w.over(0, nil)
		cfg.Scan = func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
			if err := w.scan(spans, func(r record.Record) error {
				if err := lifecycle.Sleep(ctx, stall-time.Second); err != nil {
					return err
				}
				return read(r)
			}); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		if _, err := Run(t.Context(), cfg); !errors.Is(err, errStalled) {
			t.Errorf("error %v, want %v", err, errStalled)
		}
	})
}

func TestRetentionOfTheServices(t *testing.T) {
	w, _ := missingRow()
	w.now = w.now.Add(time.Hour)
	w.create(1)
	w.settle()
	for retention, want := range map[time.Duration]int64{0: 1, 2 * time.Hour: 1, time.Minute: 0} {
		cfg := w.over(0, nil)
		cfg.Retention = retention
		if got, err := Run(t.Context(), cfg); err != nil || got.DifferenceCount != want {
			t.Errorf("retention %v: %v, %v", retention, named(got), err)
		}
	}
}
