package audit

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
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
	w.now = w.now.Add(time.Hour)
	for i := range 10 {
		w.create(banking.Money((i+1)*100 + 1))
	}
	w.create(1005)
	w.settle()
	w.now = w.now.Add(time.Hour)
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
		"all at once":        {all, Older{Ledger: 10, DeadLetters: 1, Views: 10, Transactions: 10}, sumOf(11, 6515)},
		"orders alone":       {all[:1], Older{Results: 10, DeadLetters: 1}, sumOf(11, 6515)},
		"results alone":      {all[1:], Older{Transactions: 10}, sumOf(21, 12029)},
		"dead letters alone": {[]string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ}, Older{}, sumOf(21, 12029)},
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
			if in := got.Authorized.And(got.Rejected); in != tt.in {
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
			w.publish(w.outcome(orderAs("order-99", 1), "forged", true))
		}, []string{"result_without_order order-99"}},
		"ledger has another order event": {func(w *world) {
			row := w.ledger["order-15"]
			row.EventID, row.ProcessedAt = "another", w.now
			w.ledger["order-15"] = row
		}, []string{"ledger_disagrees order-15"}},
		"view gone":      {func(w *world) { delete(w.views, "order-15") }, []string{"view_missing order-15"}},
		"view gone back": {func(w *world) { w.spoilView("order-15", func(v *View) { v.Status = banking.OrderStatusCreated }) }, []string{"view_wrong order-15"}},
		"view without":   {func(w *world) { w.spoilView("order-15", func(v *View) { v.History = v.History[:1] }) }, []string{"view_wrong order-15"}},
		"not counted":    {func(w *world) { delete(w.transactions, "order-15") }, []string{"not_counted order-15"}},
		"totals too low": {func(w *world) {
			w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].less(sumOf(1, 501))
		}, []string{"totals_wrong"}},
		"amount too high": {func(w *world) {
			w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].And(sumOf(0, 1))
		}, []string{"totals_wrong"}},
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
	got := reconcileAfter(w, w.spans(topics()...), w.state(), time.Minute)
	if diff := cmp.Diff([]string{}, named(got)); diff != "" {
		t.Errorf("(-want +got):\n%s%v", diff, got.Differences)
	}
	if got := named(w.audit()); !cmp.Equal(got, []string{"totals_wrong", "minutes_wrong"}) {
		t.Errorf("of services that keep everything: %v", got)
	}
}

// An order whose decision may have left log and ledger is neither lost nor
// accounted for, and the audit says that it cannot tell.
func TestAnOrderWithoutAStory(t *testing.T) {
	w := aged(banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	s := w.state()
	s.ledger = slices.DeleteFunc(s.ledger, func(row LedgerRow) bool { return row.ProcessedAt.Before(w.now.Add(-90 * time.Minute)) })
	got := reconcileAfter(w, w.spans(topics()...), s, time.Minute)
	checkSums(t, got)
	if got.CannotTell.Count != 10 || got.DifferenceCount != 0 || got.AccountedFor || len(got.CannotTellWhy) != 1 {
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
	w.now = w.now.Add(time.Hour) // decided after both were created
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

// An order id that was given again after its order has left the log: the ledger
// still has it.
func TestAnOrderIDGivenAgainAfterTheCut(t *testing.T) {
	w := aged(banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	w.createAs("order-3", "another", 301)
	w.settle()
	got := w.audit()
	if !cmp.Equal(named(got), []string{"created_twice order-3"}) || got.DeadLettered.Count != 1 {
		t.Errorf("%v, %v", got.Differences, got.DeadLettered)
	}
}

// A decision may be of a record that has left the log, so that it says nothing
// against it that each record that is left is a dead letter. Before the cut it
// does.
func TestADecisionOfARecordThatIsCut(t *testing.T) {
	w := aged(banking.TopicOrdersCreated)
	order := orderAs("order-3", 301)
	order.Status, order.Items, order.CreatedAt = banking.StatusCreated, w.views["order-3"].Items, w.views["order-3"].CreatedAt
	at := w.publish(must(delivery.Encode(order, ""))) // again
	w.paiement[at.Partition]++
	w.publish(deadLetter(w.at(at), banking.GroupPaiement, delivery.ReasonAuthoriser))
	w.settle()
	if got := w.audit(); !got.AccountedFor {
		t.Errorf("%v", got.Differences)
	}
	clear(w.start)
	if got := named(w.audit()); !slices.Contains(got, "decided_and_dead_lettered order-3") {
		t.Errorf("as though nothing had been cut: %v", got)
	}
}

// What paiement stored and never published is excused by a cut of the partition
// that it would stand in, as far as that goes back, and by no other's.
func TestACutOfOnePartition(t *testing.T) {
	for name, tt := range map[string]struct {
		cut   int32
		left  int           // records of it
		after time.Duration // when the decision was made
		want  int64
	}{
		"its own, at that time": {1, 1, 0, 0},
		"its own, long before":  {1, 1, time.Hour, 1},
		"its own, emptied":      {1, 0, time.Hour, 0},
		"another":               {0, 1, 0, 1},
		"another, emptied":      {0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.pile(0, 2)
			w.pile(1, 2)
			w.settle()
			p := record.Partition{Topic: banking.TopicPaymentsAuthorized, ID: tt.cut}
			w.cutLog(p, len(w.log[p])-tt.left)
			w.now = w.now.Add(tt.after)
			w.pile(1, 1)
			for w.decide(1) {
			}
			w.mark() // decided and never published
			w.settle()
			if got := w.audit(); got.DifferenceCount != tt.want {
				t.Errorf("%v", got.Differences)
			}
		})
	}
}

func TestADeadLetterThatWasDeleted(t *testing.T) {
	got := aged(banking.TopicOrdersDLQ).audit()
	if len(got.Differences) != 1 || !strings.Contains(got.Differences[0].Detail, "(dead letters have been deleted from orders.dlq)") {
		t.Errorf("%v", got.Differences)
	}
}

// A reset after topics were made again keeps what the ledger has decided: the new
// topics have neither those orders nor their results.
func TestARowFromBeforeTheTopics(t *testing.T) {
	for name, tt := range map[string]struct {
		row  LedgerRow
		want []string
	}{
		"decided before": {LedgerRow{"order-99", "e", "r", banking.StatusAuthorized, 1, time.Time{}}, []string{}},
		"purged before":  {LedgerRow{OrderID: "order-99", EventID: "e", Status: banking.StatusPurged}, []string{}},
		"decided since":  {LedgerRow{"order-99", "e", "r", banking.StatusAuthorized, 1, time.Time{}.Add(2 * time.Hour)}, []string{"ledger_without_result order-99"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.pile(0, 2)
			w.settle()
			w.decidesFrom = w.now.Add(time.Hour)
			tt.row.ProcessedAt = w.now.Add(tt.row.ProcessedAt.Sub(time.Time{}))
			w.ledger["order-99"] = tt.row
			got := w.audit()
			if diff := cmp.Diff(tt.want, named(got)); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
			if older := 1 - int64(len(tt.want)); got.OlderThanLog.Ledger != older {
				t.Errorf("%d rows are older than the log, want %d", got.OlderThanLog.Ledger, older)
			}
		})
	}
}

// A ledger that claims to know nothing of what is still to come would excuse every row.
func TestAHorizonThatIsStillToCome(t *testing.T) {
	w := newWorld()
	w.pile(0, 2)
	w.settle()
	w.decidesFrom = time.Now().Add(time.Hour)
	if got := w.audit(); got.AccountedFor || len(got.CannotTellWhy) != 1 {
		t.Errorf("accounted for: %v; cannot tell: %q", got.AccountedFor, got.CannotTellWhy)
	}
}
