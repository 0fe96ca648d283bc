package audit

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// aged is a world whose first orders have left the log, as far as the topics
// named say; order-11 to order-20 came later.
func aged(topics ...string) *world {
	w := settled()
	w.fails = func(banking.OrderCreated) bool { return true }
	w.createAs("order-100", "event-100", 7) // a dead letter from before
	w.settle()
	w.fails = func(banking.OrderCreated) bool { return false }
	for _, topic := range topics {
		for id := range int32(banking.Partitions) {
			p := record.Partition{Topic: topic, ID: id}
			w.cutLog(p, len(w.log[p]))
		}
	}
	for i := range 10 {
		w.create(banking.Money((i+1)*100 + 1))
	}
	w.create(1005)
	w.settle()
	return w
}

// What retention has removed is neither lost nor wrong, and the report says
// from where on it is complete.
func TestACutLog(t *testing.T) {
	all := []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
	for name, tt := range map[string]struct {
		cut  []string
		want Older
		in   Sum // decided orders in the log
	}{
		"all at once":        {all, Older{Ledger: 10, DeadLetters: 1, Views: 10, Transactions: 10}, Sum{11, 6515}},
		"orders alone":       {all[:1], Older{Results: 10, DeadLetters: 1}, Sum{11, 6515}},
		"results alone":      {all[1:], Older{Transactions: 10}, Sum{21, 12029}},
		"dead letters alone": {[]string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ}, Older{}, Sum{21, 12029}},
	} {
		t.Run(name, func(t *testing.T) {
			got := aged(tt.cut...).audit()
			checkSums(t, got)
			var want []string
			if name == "dead letters alone" { // the dead letter was all that there was of it
				want = []string{"lost order-100"}
			}
			if diff := cmp.Diff(append([]string{}, want...), named(got)); diff != "" {
				t.Errorf("differences (-want +got):\n%s%v", diff, got.Differences)
			}
			if diff := cmp.Diff(tt.want, got.OlderThanLog); diff != "" {
				t.Errorf("older (-want +got):\n%s", diff)
			}
			if in := got.Authorized.and(got.Rejected); in != tt.in {
				t.Errorf("decided in the log %v, want %v", in, tt.in)
			}
			for _, c := range got.Cut {
				if c.Offset == 0 {
					t.Errorf("%+v is not cut", c)
				}
			}
			if len(got.Cut) == 0 {
				t.Error("nothing is said of the cut")
			}
		})
	}
}

// What came after the cut is judged as ever.
func TestDifferencesAfterACut(t *testing.T) {
	all := []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
	for name, tt := range map[string]struct {
		defect func(w *world)
		want   []string
	}{
		"lost": {func(w *world) {
			_, at := w.create(1)
			w.paiement[at.Partition]++
		}, []string{"lost order-22"}},
		"ledger row of no order": {func(w *world) {
			w.ledger["order-99"] = LedgerRow{"order-99", "e", "r", banking.StatusAuthorized, 1, w.now}
		}, []string{"ledger_without_result order-99"}},
		"decided and never published": {func(w *world) {
			w.create(1)
			w.decide(partitionOf("", "order-22").ID)
			w.mark()
		}, []string{"ledger_without_result order-22"}},
		"decided without an order": {func(w *world) {
			w.publish(w.outcome(orderOf("order-99", 1), "forged", true))
		}, []string{"result_without_order order-99"}},
		"ledger has another order event": {func(w *world) {
			row := w.ledger["order-15"]
			row.EventID, row.ProcessedAt = "another", w.now
			w.ledger["order-15"] = row
		}, []string{"ledger_disagrees order-15"}},
		"view gone":      {func(w *world) { delete(w.views, "order-15") }, []string{"view_missing order-15"}},
		"view gone back": {func(w *world) { w.views["order-15"] = View{"order-15", banking.OrderStatusCreated, 501, 2} }, []string{"view_wrong order-15"}},
		"view without":   {func(w *world) { w.views["order-15"] = View{"order-15", banking.OrderStatusAuthorized, 501, 1} }, []string{"view_wrong order-15"}},
		"not counted":    {func(w *world) { delete(w.transactions, "order-15") }, []string{"not_counted order-15"}},
		"totals too low": {func(w *world) {
			w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].less(Sum{1, 501})
		}, []string{"totals_wrong"}},
		"amount too high": {func(w *world) { w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].and(Sum{0, 1}) }, []string{"totals_wrong"}},
		"deleted unread": {func(w *world) {
			p := partitionOf(banking.TopicOrdersCreated, "order-15")
			w.paiement[p] = w.start[p] - 1
		}, []string{"outside_log"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := aged(all...)
			tt.defect(w)
			got := w.audit()
			checkSums(t, got)
			if diff := cmp.Diff(tt.want, named(got)); diff != "" {
				t.Errorf("differences (-want +got):\n%s%v", diff, got.Differences)
			}
		})
	}
}

// Totals may count more than log and state together: what has left both.
func TestTotalsOfWhatHasLeftLogAndState(t *testing.T) {
	w := aged(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	delete(w.transactions, "order-1")
	if got := w.audit(); !got.AccountedFor {
		t.Errorf("%v", got.Differences)
	}
}

// An order whose decision may have left log and ledger is neither lost nor
// accounted for.
func TestAnOrderWithoutAStory(t *testing.T) {
	w := aged(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	s := w.state()
	s.Paiement.Ledger = nil
	l := NewLog()
	spans := w.spans(topics()...)
	l.Extend(spans)
	_ = w.scan(spans, func(r record.Record) error { l.Add(r); return nil })
	got := Reconcile(l, s, w.now.AddDate(1, 0, 0))
	checkSums(t, got)
	if got.CannotTell.Count != 10 || !got.AccountedFor {
		t.Errorf("%+v", got)
	}
}

// pile creates orders until the partition has n, and returns their ids.
func (w *world) pile(partition int32, n int) (ids []string) {
	for len(ids) < n {
		order, at := w.create(banking.Money(101 + 5*len(ids)))
		if at.ID == partition {
			ids = append(ids, order.OrderID)
		}
	}
	return ids
}

// A result that is younger than the cut may be of an order that is older: the
// ledger knows.
func TestALateDecisionOfAnOrderThatIsCut(t *testing.T) {
	w := newWorld()
	ids := w.pile(0, 2)
	w.now = w.now.Add(time.Second) // decided after both were created
	w.settle()
	w.cutLog(record.Partition{Topic: banking.TopicOrdersCreated}, 1)
	if got := w.audit(); !got.AccountedFor || got.OlderThanLog.Results != 1 {
		t.Errorf("%+v", got)
	}
	s := w.state()
	s.Paiement = nil
	if got := reconcileWith(w, s); got.DifferenceCount != 0 {
		t.Errorf("paiement not looked at: %v", got.Differences)
	}
	delete(w.ledger, ids[0])
	if got := named(w.audit()); !cmp.Equal(got, []string{"result_without_order " + ids[0]}) {
		t.Errorf("neither order nor ledger row: %v", got)
	}
}

// A decision whose order is cut may still wait in the outbox.
func TestADecisionThatWaitsForLong(t *testing.T) {
	w := settled()
	_, at := w.create(1)
	w.decide(at.ID)
	w.cutLog(at.Partition, len(w.log[at.Partition]))
	w.suivi[at.Partition] = w.start[at.Partition]
	if got := w.audit(); !got.AccountedFor {
		t.Errorf("%v", got.Differences)
	}
	w.mark()
	if got := named(w.audit()); !cmp.Equal(got, []string{"ledger_without_result order-11"}) {
		t.Errorf("not published: %v", got)
	}
}

// An order id that was given again after its order has left the log.
func TestAnOrderIDGivenAgainAfterTheCut(t *testing.T) {
	w := aged(banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	w.createAs("order-3", "another", 301)
	w.settle()
	got := w.audit()
	if !got.AccountedFor || got.DeadLettered.Count != 1 {
		t.Errorf("%v, %v", got.Differences, got.DeadLettered)
	}
}

// A decision may be of a record that has left the log, so that it says nothing
// against it that each record that is left is a dead letter, or has another
// event. Before the cut it does.
func TestADecisionOfARecordThatIsCut(t *testing.T) {
	for event, want := range map[string]string{"event-3": "decided_and_dead_lettered order-3", "another": "cause_differs order-3"} {
		w := aged(banking.TopicOrdersCreated)
		_, at := w.createAs("order-3", event, 301)
		w.paiement[at.Partition]++
		w.publish(deadLetter(w.at(at), banking.GroupPaiement, delivery.ReasonAuthoriser))
		w.settle()
		if got := w.audit(); !got.AccountedFor {
			t.Errorf("%s: %v", event, got.Differences)
		}
		clear(w.start)
		if got := named(w.audit()); !slices.Contains(got, want) {
			t.Errorf("%s, as though nothing had been cut: %v, want %s", event, got, want)
		}
	}
}

// A cut of one partition excuses nothing in another.
func TestACutOfOnePartition(t *testing.T) {
	for partition, want := range map[int32]int64{0: 0, 1: 1} {
		w := newWorld()
		w.pile(0, 2)
		w.pile(1, 2)
		w.settle()
		p := record.Partition{Topic: banking.TopicPaymentsAuthorized}
		w.cutLog(p, len(w.log[p])) // what it had is not known
		w.pile(partition, 1)
		for w.decide(partition) {
		}
		w.mark() // decided and never published
		w.settle()
		if got := w.audit(); got.DifferenceCount != want {
			t.Errorf("partition %d: %v", partition, got.Differences)
		}
	}
}

func TestSamePartition(t *testing.T) {
	l := NewLog()
	l.Extend([]kafka.Span{
		{Partition: record.Partition{Topic: "a"}}, {Partition: record.Partition{Topic: "b"}},
		{Partition: record.Partition{Topic: "c"}}, {Partition: record.Partition{Topic: "c", ID: 1}},
	})
	if got := l.samePartition("b", record.At("a", 0, 0)); got != 0 {
		t.Errorf("as many partitions: %d", got)
	}
	if got := l.samePartition("c", record.At("a", 0, 0)); got != -1 {
		t.Errorf("more partitions: %d", got)
	}
}

func TestADeadLetterThatWasDeleted(t *testing.T) {
	got := aged(banking.TopicOrdersDLQ).audit()
	if len(got.Differences) != 1 || !strings.Contains(got.Differences[0].Detail, "dead letters before offset 1 of orders.dlq/") {
		t.Errorf("%v", got.Differences)
	}
}
