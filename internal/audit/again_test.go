package audit

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// again is an auditor of a world that is closed with the test.
func again(t testing.TB, cfg Config) *Auditor {
	t.Helper()
	a := New(cfg)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// differ compares what two audits of the same system say.
func differ(a, b Report) string {
	return cmp.Diff(a, b, cmpopts.EquateComparable(Cents{}), cmpopts.IgnoreUnexported(Difference{}))
}

// An auditor that goes on says what a new one does, after any history, of
// correct systems and of damaged ones. What is left out is damage to a part of the
// log that it has read before: it still knows what was there.
func TestAnAuditorThatGoesOnAgreesWithANewOne(t *testing.T) {
	spoil := defects()
	delete(spoil, "result gone")
	names := []string{""}
	for name := range spoil {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		cfg := w.over(0, nil)
		a := New(cfg)
		defer func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}()
		for range rapid.IntRange(2, 4).Draw(t, "runs") {
			history(t, w, "between", 20)
			if name := rapid.SampledFrom(names).Draw(t, "damage"); name != "" {
				w.create(1) // there is something to spoil
				w.settle()
				spoil[name](t, w)
			}
			got, err := a.Run(t.Context())
			want, wantErr := Run(t.Context(), cfg)
			if err != nil || wantErr != nil {
				t.Fatal(err, wantErr)
			}
			if diff := differ(want, got); diff != "" {
				t.Fatalf("(-new +going on):\n%s", diff)
			}
		}
	})
}

// A run reads what is new in the log, and looks at all of the state; what differed
// once and is fixed differs no more.
func TestARunReadsWhatIsNew(t *testing.T) {
	w, row := missingRow()
	cfg := w.over(0, nil)
	var reads atomic.Int64
	scan := cfg.Scan
	cfg.Scan = func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
		return scan(ctx, spans, func(r record.Record) error { reads.Add(1); return read(r) })
	}
	a := again(t, cfg)
	for _, step := range []struct {
		before func()
		reads  int64
		want   []string
	}{
		{func() {}, 20, []string{"result_without_ledger order-3"}},
		{func() { w.ledger["order-3"] = row }, 0, []string{}},
		{func() { w.create(1); w.settle() }, 2, []string{}},
		{func() { delete(w.views, "order-11") }, 0, []string{"view_missing order-11"}},
	} {
		step.before()
		reads.Store(0)
		got, err := a.Run(t.Context())
		if diff := cmp.Diff(step.want, named(got)); err != nil || diff != "" || reads.Load() != step.reads {
			t.Errorf("%v, %d records read, want %d (-want +got):\n%s", err, reads.Load(), step.reads, diff)
		}
	}
}

// Where the log is no longer what was read, an auditor does not guess.
func TestALogThatIsAnother(t *testing.T) {
	for name, change := range map[string]func(*world, record.Partition){
		"shorter": func(w *world, p record.Partition) { w.log[p] = w.log[p][:1] },
		"records cut that were not read": func(w *world, p record.Partition) {
			w.republish(banking.TopicOrdersCreated, "order-3")
			w.start[p], w.log[p] = w.start[p]+int64(len(w.log[p])), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled()
			a := again(t, w.over(0, nil))
			if _, err := a.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			change(w, partitionOf(banking.TopicOrdersCreated, "order-3"))
			if _, err := a.Run(t.Context()); !errors.Is(err, ErrLogChanged) {
				t.Errorf("error %v, want %v", err, ErrLogChanged)
			}
		})
	}
}

// What retention cuts after it was read stays known; the report says where the
// log begins now.
func TestALogThatIsCutBetweenTwoRuns(t *testing.T) {
	w := settled()
	a := again(t, w.over(0, nil))
	before, err := a.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := partitionOf(banking.TopicOrdersCreated, "order-3")
	w.start[p], w.log[p] = 1, w.log[p][1:]
	after, err := a.Run(t.Context())
	if err != nil || !after.AccountedFor || after.Created != before.Created || len(before.Cut) != 0 || len(after.Cut) != 1 || after.Cut[0].Offset != 1 {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
}

// From the log alone, with what paiement's group has committed, it can be told
// which orders are under way and which are lost.
func TestTheLogAlone(t *testing.T) {
	w, letter := refused()
	w.replay(letter)
	w.create(42)
	lost, at := w.create(1)
	committed := Positions{}
	for p, next := range w.paiement {
		committed[p] = next
	}
	alone := func(committed Positions) Report {
		cfg := w.over(0, nil)
		cfg.State = func(context.Context, *Rows) (State, error) {
			return State{LogAlone: true, Committed: committed, NotLookedAt: map[string]string{paiement: "away", suivi: "away", analyseur: "away"}}, nil
		}
		got, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		checkSums(t, got)
		return got
	}
	if got := alone(committed); !got.AccountedFor || got.InFlight.Count != 3 || len(got.CannotTellWhy) != 0 {
		t.Errorf("nothing of it is committed: %+v", got)
	}
	committed[at.Partition] = at.Offset + 1
	got := alone(committed)
	if !slices.Contains(named(got), "undecided "+lost.OrderID) || got.Unaccounted.Count == 0 {
		t.Errorf("committed and undecided: %+v", got)
	}
	if got := alone(nil); got.Unaccounted.Count != 3 {
		t.Errorf("nothing is known of what is committed: %+v", got)
	}
}

// Each difference says how many euros it is about.
func TestAmountsOfDifferences(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*world)
		want  banking.Money
	}{
		"nothing": {func(*world) {}, 0},
		"lost": {func(w *world) {
			_, at := w.create(250)
			w.paiement[at.Partition]++
		}, 250},
		"decided twice":        {func(w *world) { w.publish(w.outcome(orderAs("order-3", 301), "forged", true)) }, 301},
		"decided for no order": {func(w *world) { w.decidedAs(orderAs("order-99", 7), "r") }, 7},
		"decided for less": {func(w *world) {
			order, _ := w.create(1200)
			order.Amount = 1100
			w.decidedAs(order, banking.ResultEventID("event-11"))
		}, 100},
		"another amount in the ledger": {func(w *world) {
			row := w.ledger["order-3"]
			row.Amount -= 11
			w.ledger["order-3"] = row
		}, 11},
		"counted for more": {func(w *world) { w.spoilTransaction("order-3", func(t *Transaction) { t.Amount += 5 }) }, 5},
		"totals too high": {func(w *world) {
			w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].Plus(9)
		}, 9},
		"not about money": {func(w *world) { delete(w.views, "order-3") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled()
			tt.spoil(w)
			w.showAll()
			got, err := Run(t.Context(), w.over(0, nil))
			if err != nil || got.DifferenceAmount != CentsOf(tt.want) {
				t.Errorf("%s, want %s; %v: %v", got.DifferenceAmount, tt.want, err, got.Differences)
			}
		})
	}
}

// A transaction that stays open, or a difference that stays, is waited for at each
// run anew.
func TestEachRunIsPatient(t *testing.T) {
	w, _ := missingRow()
	a := again(t, w.over(time.Millisecond, nil))
	for range 2 {
		got, err := a.Run(t.Context())
		if err != nil || got.Looks < 2 || got.DifferenceCount != 1 {
			t.Errorf("%d looks, %v, %v", got.Looks, named(got), err)
		}
	}
}
