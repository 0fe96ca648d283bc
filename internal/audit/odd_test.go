package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// A record's own time is whatever its producer wrote. One that cannot be
// excuses nothing and accuses nobody.
func TestOddTimestamps(t *testing.T) {
	for name, odd := range map[string]time.Time{
		"none": {}, "-1": time.UnixMilli(-1), "0": time.UnixMilli(0), "in the future": time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		"far in the past": time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC),
	} {
		t.Run(name, func(t *testing.T) {
			all := []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
			w := aged(all...)
			for _, topic := range all { // the first records that are left
				for id := range int32(banking.Partitions) {
					if p := (record.Partition{Topic: topic, ID: id}); len(w.log[p]) > 0 {
						w.log[p][0].Time = odd
					}
				}
			}
			if got := w.audit(); !got.AccountedFor {
				t.Errorf("a correct system: %v", got.Differences)
			}
			order, at := w.create(1)
			w.paiement[at.Partition]++
			w.log[at.Partition][len(w.log[at.Partition])-1].Time = odd
			w.ledger["order-99"] = LedgerRow{"order-99", "e", "r", banking.StatusAuthorized, 1, w.now}
			got := reconcileAfter(w, w.spans(topics()...), w.state(), time.Minute)
			if diff := cmp.Diff([]string{"lost " + order.OrderID, "ledger_without_result order-99"}, named(got)); diff != "" {
				t.Errorf("(-want +got):\n%s%v", diff, got.Differences)
			}
		})
	}
}

// A forged decision is not excused by the time that it names.
func TestAForgedDecisionOfLongAgo(t *testing.T) {
	w := aged(banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	now := w.now
	w.now = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	m := w.outcome(orderAs("order-99", 1), "forged", true)
	w.now = now
	w.publish(m)
	got := reconcileAfter(w, w.spans(topics()...), w.state(), time.Minute)
	if diff := cmp.Diff([]string{"result_without_order order-99"}, named(got)); diff != "" {
		t.Errorf("(-want +got):\n%s%v", diff, got.Differences)
	}
}

// Where an order's records stand is their producers' choice.
func TestAnyPartitioner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.create(1)
		w.settle()
		history(t, w, "history", 40)
		w.settle()
		moved := newWorld()
		moved.ledger, moved.views, moved.counts, moved.totals, moved.transactions, moved.minutes = w.ledger, w.views, w.counts, w.totals, w.transactions, w.minutes
		// Dead letters, and what they name, stay where they are.
		named := map[record.Place]bool{}
		for id := range int32(banking.Partitions) {
			for _, r := range w.log[record.Partition{Topic: banking.TopicOrdersDLQ, ID: id}] {
				if origin, _, err := record.ParseOrigin(r); err == nil {
					named[origin.Place] = true
				}
			}
		}
		for p, records := range w.log {
			for _, r := range records {
				to := p
				if p.Topic != banking.TopicOrdersDLQ && p.Topic != banking.TopicPaymentsDLQ && len(named) == 0 {
					to.ID = rapid.Int32Range(0, banking.Partitions-1).Draw(t, "partition")
				}
				r.Place = record.Place{Partition: to, Offset: int64(len(moved.log[to]))}
				moved.log[to] = append(moved.log[to], r)
			}
		}
		for _, s := range moved.spans(topics()...) {
			moved.paiement[s.Partition], moved.suivi[s.Partition], moved.analyseur[s.Partition] = s.End, s.End, s.End
		}
		moved.now = w.now
		if got := moved.audit(); !got.AccountedFor {
			t.Errorf("%v", got.Differences)
		}
	})
}

// No amount that a database holds overflows a sum, or turns it negative.
func TestExtremeAmounts(t *testing.T) {
	w := settled()
	for i := range 3 {
		id := fmt.Sprintf("order-%d", 100+i)
		w.ledger[id] = LedgerRow{id, "e", "r", banking.StatusAuthorized, math.MaxInt64, w.now}
		w.addTransaction(Transaction{OrderID: id, Status: banking.StatusAuthorized, Amount: math.MaxInt64, ProcessedAt: w.now})
	}
	got := w.audit()
	checkSums(t, got)
	if !slices.ContainsFunc(got.Differences, func(d Difference) bool {
		return d.Kind == MinutesWrong && strings.HasSuffix(d.Detail, "it has read 13 of 276701161105643329.35")
	}) {
		t.Errorf("%v", got.Differences)
	}
}

// Sums are added as they are by math/big, and come back from JSON as they were.
func TestCents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sum := Sum{}
		for range rapid.IntRange(0, 5).Draw(t, "terms") {
			amount := banking.Money(rapid.Int64().Draw(t, "cents"))
			before := sum
			sum = sum.Plus(amount)
			if back := sum.less(Sum{1, CentsOf(amount)}); back != before {
				t.Fatalf("%v and %v make %v, and back %v", before, amount, sum, back)
			}
			if negative := strings.HasPrefix(sum.Amount.String(), "-"); negative != sum.Amount.isNegative() {
				t.Fatalf("%v is negative: %v", sum.Amount, !negative)
			}
		}
		text := sum.Amount.String()
		var read Cents
		if err := json.Unmarshal([]byte(text), &read); err != nil || read != sum.Amount {
			t.Fatalf("%s became %v: %v", text, read, err)
		}
		if m, ok := sum.Amount.Money(); ok && m.String() != text {
			t.Fatalf("%s is %s as an amount", text, m)
		}
	})
	for _, bad := range []string{"", `""`, "1", "1.5", "01.00", "1e3", "-0.00", strings.Repeat("9", 60) + ".00", "null"} {
		if err := new(Cents).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%q is read as a sum", bad)
		}
	}
	most := CentsOf(math.MaxInt64)
	for range 63 {
		most = most.plus(most)
	}
	if got := most.String(); got != "850705917302346158566202798210872770.56" { // (2^63 − 1) × 2^63
		t.Errorf("%s", got)
	}
}

// overSince is an audit of a world's orders since a time. It reads from the
// first record that is as young.
func (w *world) overSince(since time.Time) Config {
	cfg := w.over(0, nil)
	cfg.Since = since
	cfg.From = func(spans []kafka.Span, since time.Time) ([]kafka.Span, error) {
		out := slices.Clone(spans)
		for i, s := range out {
			for s.Start < s.End && w.at(record.Place{Partition: s.Partition, Offset: s.Start}).Time.Before(since.Add(-10*time.Minute)) {
				s.Start++
			}
			out[i] = s
		}
		return out, nil
	}
	return cfg
}

func TestOrdersSinceATime(t *testing.T) {
	w := settled()
	delete(w.views, "order-1") // older than what is asked for
	w.counts[banking.OrderStatusAuthorized]--
	w.now = w.now.Add(time.Hour)
	since := w.now
	w.create(2001)
	w.settle()
	w.create(2002)
	got, err := Run(t.Context(), w.overSince(since))
	checkSums(t, got)
	if err != nil || !got.AccountedFor || got.Created != sumOf(2, 4003) || got.Authorized != sumOf(1, 2001) || got.InFlight != sumOf(1, 2002) {
		t.Errorf("%+v, %v", got, err)
	}
	if got.Records != 3 || got.Since == nil || !got.Since.Equal(since) || got.TellsFrom != nil || len(got.Cut) != 0 {
		t.Errorf("%+v", got)
	}
	w.spoilView("order-11", func(v *View) { v.UserID = "mallory" })
	order, at := w.create(1)
	w.paiement[at.Partition]++
	got, err = Run(t.Context(), w.overSince(since))
	if diff := cmp.Diff([]string{"view_wrong order-11", "lost " + order.OrderID}, named(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s%v", err, diff, got.Differences)
	}
}

// What is asked for has to be there.
func TestSinceBeforeTheCut(t *testing.T) {
	w := aged(banking.TopicOrdersCreated)
	for since, want := range map[time.Time]int{w.now.Add(-3 * time.Hour): 1, w.now.Add(-30 * time.Minute): 0} {
		got, err := Run(t.Context(), w.overSince(since))
		if err != nil || got.DifferenceCount != 0 || len(got.CannotTellWhy) != want || got.AccountedFor != (want == 0) {
			t.Errorf("since %v: %+v, %v", since, got, err)
		}
	}
}

// Whatever time a correct system is audited from, nothing is held against it.
func TestACorrectHistoryIsCleanSinceAnyTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		began := w.now
		for range 3 {
			history(t, w, "history", 20)
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "minutes")) * time.Minute)
		}
		since := began.Add(time.Duration(rapid.Int64Range(0, w.now.Sub(began).Microseconds()+1).Draw(t, "since")) * time.Microsecond)
		got, err := Run(context.Background(), w.overSince(since))
		if err != nil || !got.AccountedFor {
			t.Errorf("%v, %v", got.Differences, err)
		}
		checkSums(t, got)
	})
}

// An audit leaves no file, however it ends.
func TestAnAuditLeavesNoFile(t *testing.T) {
	broken := errors.New("broken")
	dir := t.TempDir()
	system := bulk{3000, time.Date(1999, 5, 1, 12, 0, 0, 0, time.UTC)}
	for name, scan := range map[string]func(context.Context, []kafka.Span, func(record.Record) error) error{
		"well": system.config().Scan,
		"badly": func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
			return errors.Join(system.config().Scan(ctx, spans, read), broken)
		},
	} {
		cfg := system.config()
		cfg.Scan, cfg.Dir = scan, dir
		if report, err := Run(t.Context(), cfg); errors.Is(err, broken) == report.AccountedFor {
			t.Errorf("%s: %v, %v", name, report.Differences, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("it ended %s and left %v, %v", name, left, err)
		}
	}
	cfg := system.config()
	cfg.Dir = filepath.Join(dir, "missing")
	if _, err := Run(t.Context(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that the folder is not there", err)
	}
}

// An audit that is told to stop does so while it judges, too.
func TestAnAuditThatIsToldToStop(t *testing.T) {
	system := bulk{3000, time.Date(1999, 5, 1, 12, 0, 0, 0, time.UTC)}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := system.config()
	cfg.Scan = func(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
		defer cancel()
		return system.config().Scan(ctx, spans, read)
	}
	if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// All differences are counted, and only as many kept as are named. Those that
// go away between two looks are not counted, whichever they are.
func TestManyDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := settled()
		ledger := w.ledger
		w.ledger = map[string]LedgerRow{}
		cfg := w.over(time.Second, func(look int) {
			if look == 2 {
				w.ledger = map[string]LedgerRow{"order-1": ledger["order-1"], "order-3": ledger["order-3"]}
				delete(w.views, "order-4") // was there at the first look
			}
		})
		cfg.Limit = 2
		got, err := Run(t.Context(), cfg)
		if err != nil || got.DifferenceCount != 8 || !cmp.Equal(named(got), []string{"result_without_ledger order-2", "result_without_ledger order-4"}) ||
			!cmp.Equal(got.Kinds, map[Kind]int64{ResultWithoutLedger: 8}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// What somebody has stored can do nothing to a terminal.
func TestDifferencesAreShownPlainly(t *testing.T) {
	w := settled()
	id := "order-\x1b[2J\u202e\n\x00"
	w.ledger[id] = LedgerRow{id, "e", "r\x07", banking.StatusAuthorized, 1, w.now}
	got := w.audit()
	if diff := cmp.Diff([]string{`ledger_without_result order-\x1b[2J\u202e\n\x00`}, named(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.ContainsAny(got.Text(), "\x00\x07\x1b\u202e") {
		t.Errorf("%q", got.Text())
	}
}
