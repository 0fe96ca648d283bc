package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/record"
)

// settled is a world with nine decided orders, order-1 of 1.01 to order-9 of
// 9.01, of which suivi and analyseur have read everything.
func settled() *world {
	w := newWorld()
	for i := range 9 {
		w.create(banking.Money((i+1)*100 + 1))
	}
	w.create(1005) // order-10 is rejected
	w.settle()
	return w
}

// refused is a settled world in which order-11 is a dead letter, at the place.
func refused() (*world, record.Place) {
	w := settled()
	w.fails = func(banking.OrderCreated) bool { return true }
	w.create(1101)
	w.settle()
	w.fails = func(banking.OrderCreated) bool { return false }
	p := partitionOf(banking.TopicOrdersDLQ, "order-11")
	return w, record.Place{Partition: p, Offset: int64(len(w.log[p]) - 1)}
}

// replay does what `vigie dlq replay` does.
func (w *world) replay(letter record.Place) {
	r := w.at(letter)
	_, original, err := record.ParseOrigin(r)
	if err != nil {
		panic(err)
	}
	w.publish(record.Message{Topic: banking.TopicOrdersCreated, Key: r.Key, Value: r.Value, Headers: original.Headers})
	w.publish(markerFor(letter, string(r.Key), record.Replayed))
}

func (w *world) purge(letter record.Place) record.Place {
	r := w.at(letter)
	m := record.Marker{Letter: letter, Resolution: record.Purged, At: markedAt()}
	origin, original, err := record.ParseOrigin(r)
	if order, bad := delivery.DecodeAs[banking.OrderCreated](original); err == nil && bad == nil && origin.Group == banking.GroupPaiement {
		m.EventID = order.EventID
	}
	return w.publish(m.Message(r.Key))
}

// decidedAs has an order decided, and in the ledger, as paiement would not.
func (w *world) decidedAs(order banking.OrderCreated, event string) {
	for p := range int32(banking.Partitions) {
		at := record.Partition{Topic: banking.TopicOrdersCreated, ID: p}
		w.paiement[at] = w.start[at] + int64(len(w.log[at]))
	}
	w.ledger[order.OrderID] = LedgerRow{order.OrderID, order.EventID, event, banking.StatusAuthorized, order.Amount, w.now}
	w.publish(w.outcome(order, event, true))
}

func (w *world) spoilView(id string, spoil func(*View)) {
	v := w.views[id]
	v.History = slices.Clone(v.History)
	spoil(&v)
	w.views[id] = v
}

func (w *world) spoilTransaction(id string, spoil func(*Transaction)) {
	t := w.transactions[id]
	spoil(&t)
	w.transactions[id] = t
}

// republish has a record of a topic published again.
func (w *world) republish(topic, id string) {
	r := w.first(topic, id)
	w.publish(record.Message{Topic: topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
}

func (w *world) first(topic, id string) record.Record {
	for _, r := range w.log[partitionOf(topic, id)] {
		if string(r.Key) == id {
			return r
		}
	}
	panic(fmt.Sprintf("%s has no record of %s", topic, id))
}

func orderAs(id string, amount banking.Money) banking.OrderCreated {
	return banking.OrderCreated{OrderID: id, EventID: "event-" + strings.TrimPrefix(id, "order-"), UserID: "user", Amount: amount}
}

func sumOf(count int64, cents banking.Money) Sum { return Sum{count, CentsOf(cents)} }

// named lists differences as "kind order".
func named(r Report) []string {
	out := []string{}
	for _, d := range r.Differences {
		out = append(out, strings.TrimSpace(string(d.Kind)+" "+d.OrderID))
	}
	return out
}

// checkSums compares the sums with each other: each order stands in one.
func checkSums(t interface {
	Helper()
	Errorf(string, ...any)
}, r Report) {
	t.Helper()
	all := r.Authorized.And(r.Rejected).And(r.DeadLettered).And(r.Purged).And(r.InFlight).And(r.CannotTell).And(r.Unaccounted)
	if all != r.Created {
		t.Errorf("created %v, the sums make %v", r.Created, all)
	}
	if r.AccountedFor != (r.DifferenceCount == 0 && len(r.CannotTellWhy) == 0) || int(r.DifferenceCount) != len(r.Differences) {
		t.Errorf("accounted for: %v, with %d differences", r.AccountedFor, r.DifferenceCount)
	}
}

// What a system does that keeps its promises is no difference, and stands in
// the sum where it belongs.
func TestWhatIsAccountedFor(t *testing.T) {
	nine := sumOf(9, 4509)
	for name, tt := range map[string]struct {
		world func() *world
		want  Report
	}{
		"nothing yet": {newWorld, Report{}},
		"decided":     {settled, Report{Authorized: nine, Rejected: sumOf(1, 1005)}},
		"not read yet": {func() *world {
			w := settled()
			w.create(42)
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), InFlight: sumOf(1, 42)}},
		"decided, not published": {func() *world {
			w := settled()
			w.create(42)
			w.decide(partitionOf("", "order-11").ID)
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), InFlight: sumOf(1, 42)}},
		"published, not marked": {func() *world {
			w := settled()
			w.create(42)
			w.decide(partitionOf("", "order-11").ID)
			w.flush()
			return w
		}, Report{Authorized: sumOf(10, 4551), Rejected: sumOf(1, 1005)}},
		"published twice": {func() *world {
			w := settled()
			w.create(42)
			w.decide(partitionOf("", "order-11").ID)
			w.flush()
			w.settle()
			return w
		}, Report{Authorized: sumOf(10, 4551), Rejected: sumOf(1, 1005), Republished: Republished{Results: 1}}},
		"ordered twice under one event": {func() *world {
			w := settled()
			w.republish(banking.TopicOrdersCreated, "order-3")
			w.settle()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), Republished: Republished{Orders: 1}}},
		"dead letter not published": {func() *world {
			w := settled()
			w.fails = func(banking.OrderCreated) bool { return true }
			w.create(42)
			w.decide(partitionOf("", "order-11").ID)
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), InFlight: sumOf(1, 42)}},
		"dead letter not marked": {func() *world {
			w := settled()
			w.fails = func(banking.OrderCreated) bool { return true }
			w.create(42)
			w.decide(partitionOf("", "order-11").ID)
			w.flush()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), DeadLettered: sumOf(1, 42)}},
		"dead letter published twice": {func() *world {
			w := settled()
			w.fails = func(banking.OrderCreated) bool { return true }
			w.create(42)
			w.decide(partitionOf("", "order-11").ID)
			w.flush()
			w.settle()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), DeadLettered: sumOf(1, 42), Republished: Republished{DeadLetters: 1}}},
		"replayed, not read": {func() *world {
			w, letter := refused()
			w.replay(letter)
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), InFlight: sumOf(1, 1101), Republished: Republished{Orders: 1}}},
		"replayed and decided": {func() *world {
			w, letter := refused()
			w.replay(letter)
			w.settle()
			return w
		}, Report{Authorized: sumOf(10, 5610), Rejected: sumOf(1, 1005), Republished: Republished{Orders: 1}}},
		"replayed and refused again": {func() *world {
			w, letter := refused()
			w.fails = func(banking.OrderCreated) bool { return true }
			w.replay(letter)
			w.settle()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), DeadLettered: sumOf(1, 1101), Republished: Republished{Orders: 1}}},
		"purged": {func() *world {
			w, letter := refused()
			w.purge(letter)
			w.settle()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), Purged: sumOf(1, 1101)}},
		"purged, and not read": {func() *world {
			w, letter := refused()
			w.purge(letter)
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), Purged: sumOf(1, 1101)}},
		"purged and replayed": {func() *world {
			w, letter := refused()
			w.purge(letter)
			w.replay(letter)
			for w.decide(partitionOf("", "order-11").ID) { // before the purge is in the ledger
			}
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), Purged: sumOf(1, 1101), Republished: Republished{Orders: 1}}},
		"replayed, decided, and then purged": {func() *world {
			w, letter := refused()
			w.replay(letter)
			w.settle()
			w.purge(letter)
			w.settle()
			return w
		}, Report{Authorized: sumOf(10, 5610), Rejected: sumOf(1, 1005), Republished: Republished{Orders: 1}}},
		"purged by a marker without an event": {func() *world {
			w, letter := refused()
			w.publish(markerFor(letter, "order-11", record.Purged))
			w.settle()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), Purged: sumOf(1, 1101)}},
		"purged by the mark on a copy": {func() *world {
			w, letter := refused()
			r := w.at(letter)
			w.purge(w.publish(record.Message{Topic: letter.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}))
			w.settle()
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), Purged: sumOf(1, 1101), Republished: Republished{DeadLetters: 1}}},
		"unreadable": {func() *world {
			w := settled()
			w.publish(record.Message{Topic: banking.TopicOrdersCreated, Key: []byte("junk"), Value: []byte("junk")})
			w.settle()
			w.publish(record.Message{Topic: banking.TopicOrdersCreated, Key: []byte("junk"), Value: []byte("junk")})
			w.publish(record.Message{Topic: banking.TopicPaymentsRejected, Key: []byte("junk"), Value: []byte("junk")})
			return w
		}, Report{
			Authorized: nine, Rejected: sumOf(1, 1005),
			Unreadable: Unreadable{Orders: 2, OrdersDeadLettered: 1, OrdersInFlight: 1, Elsewhere: 1},
		}},
		"dead letters of others": {func() *world {
			w := settled()
			r := w.first(banking.TopicPaymentsAuthorized, "order-1")
			at := w.publish(deadLetter(r, banking.GroupAnalyseur, delivery.ReasonContradictory))
			w.publish(deadLetter(r, "a hostile name", "a hostile reason"))
			w.purge(at)
			return w
		}, Report{Authorized: nine, Rejected: sumOf(1, 1005), OtherDeadLetters: []OtherDeadLetter{
			{Group: banking.GroupAnalyseur, Topic: banking.TopicPaymentsAuthorized, Reason: "contradictory", Purged: 1},
			{Group: "other", Topic: banking.TopicPaymentsAuthorized, Reason: "other", Waiting: 1},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.world().audit()
			checkSums(t, got)
			if diff := cmp.Diff([]string{}, named(got)); diff != "" {
				t.Errorf("differences (-want +got):\n%s%v", diff, got.Differences)
			}
			tt.want.Created = got.Created
			tt.want.AccountedFor = true
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(Cents{}),
				cmpopts.IgnoreFields(Report{}, "Records", "Services", "Kinds", "Differences")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Each kind of difference is found, named by its order, and alone.
func TestEachDifferenceIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		defect func(w *world, letter record.Place)
		want   []string
	}{
		"lost": {func(w *world, _ record.Place) {
			_, at := w.create(1)
			w.paiement[at.Partition]++
		}, []string{"lost order-12"}},
		"lost, unreadable": {func(w *world, _ record.Place) {
			at := w.publish(record.Message{Topic: banking.TopicOrdersCreated, Key: []byte("junk"), Value: []byte("junk")})
			w.paiement[at.Partition]++
		}, []string{"lost"}},
		"replay that never came": {func(w *world, letter record.Place) {
			w.publish(markerFor(letter, "order-11", record.Replayed))
		}, []string{"lost order-11"}},
		"the second of two records is lost": {func(w *world, letter record.Place) {
			w.replay(letter)
			w.paiement[partitionOf(banking.TopicOrdersCreated, "order-11")]++
		}, []string{"lost order-11"}},
		"decided twice": {func(w *world, _ record.Place) {
			w.publish(w.outcome(orderAs("order-3", 301), "forged", true))
		}, []string{"decided_twice order-3"}},
		"decided both ways by one event": {func(w *world, _ record.Place) {
			w.publish(w.outcome(orderAs("order-3", 301), banking.ResultEventID("event-3"), false))
		}, []string{"decided_twice order-3"}},
		"decided for another amount": {func(w *world, _ record.Place) {
			order, _ := w.create(1200)
			order.Amount = 1201
			w.decidedAs(order, banking.ResultEventID("event-12"))
		}, []string{"amount_differs order-12"}},
		"decided for another user": {func(w *world, _ record.Place) {
			order, _ := w.create(1)
			order.UserID = "another"
			w.decidedAs(order, banking.ResultEventID("event-12"))
		}, []string{"user_differs order-12"}},
		"decided for another event": {func(w *world, _ record.Place) {
			order, _ := w.create(1)
			order.EventID = "another"
			w.decidedAs(order, banking.ResultEventID("event-12"))
			w.ledger["order-12"] = LedgerRow{"order-12", "event-12", banking.ResultEventID("event-12"), banking.StatusAuthorized, 1, w.ledger["order-12"].ProcessedAt}
		}, []string{"cause_differs order-12"}},
		"decided and dead-lettered": {func(w *world, _ record.Place) {
			w.publish(deadLetter(w.first(banking.TopicOrdersCreated, "order-3"), banking.GroupPaiement, delivery.ReasonAuthoriser))
		}, []string{"decided_and_dead_lettered order-3"}},
		"decided without an order": {func(w *world, _ record.Place) {
			w.publish(w.outcome(orderAs("order-99", 1), "forged", true))
		}, []string{"result_without_order order-99"}},
		"decided and in the ledger without an order": {func(w *world, _ record.Place) {
			w.decidedAs(orderAs("order-99", 1), "r")
		}, []string{"result_without_order order-99"}},
		"forged while the decision waits": {func(w *world, _ record.Place) {
			order, _ := w.create(1)
			w.decide(partitionOf("", "order-12").ID)
			w.publish(w.outcome(order, "forged", true))
		}, []string{"ledger_disagrees order-12"}},
		"created twice": {func(w *world, _ record.Place) {
			w.createAs("order-3", "another", 301)
			w.settle()
		}, []string{"created_twice order-3"}},
		"created twice for other amounts": {func(w *world, _ record.Place) {
			w.createAs("order-3", "event-3", 302)
			w.settle()
		}, []string{"created_twice order-3"}},
		"ledger row gone": {func(w *world, _ record.Place) {
			delete(w.ledger, "order-3")
		}, []string{"result_without_ledger order-3"}},
		"ledger row of no order": {func(w *world, _ record.Place) {
			w.ledger["order-99"] = LedgerRow{"order-99", "e", "r", banking.StatusAuthorized, 1, w.now}
		}, []string{"ledger_without_result order-99"}},
		"decided and never published": {func(w *world, _ record.Place) {
			w.create(1)
			w.decide(partitionOf("", "order-12").ID)
			w.mark()
		}, []string{"ledger_without_result order-12"}},
		"ledger has another status": {func(w *world, _ record.Place) {
			row := w.ledger["order-3"]
			row.Status = banking.StatusRejected
			w.ledger["order-3"] = row
		}, []string{"ledger_disagrees order-3"}},
		"ledger has another amount": {func(w *world, _ record.Place) {
			row := w.ledger["order-3"]
			row.Amount++
			w.ledger["order-3"] = row
		}, []string{"ledger_disagrees order-3"}},
		"ledger has another result": {func(w *world, _ record.Place) {
			row := w.ledger["order-3"]
			row.ResultEventID = "another"
			w.ledger["order-3"] = row
		}, []string{"ledger_disagrees order-3"}},
		"ledger has another order event": {func(w *world, _ record.Place) {
			row := w.ledger["order-3"]
			row.EventID = "another"
			w.ledger["order-3"] = row
		}, []string{"ledger_disagrees order-3"}},
		"undecided, and the ledger has another event": {func(w *world, _ record.Place) {
			w.create(1)
			w.ledger["order-12"] = LedgerRow{"order-12", "another", "r", banking.StatusAuthorized, 1, w.now}
		}, []string{"ledger_disagrees order-12"}},
		"dead letter of no order": {func(w *world, _ record.Place) {
			r := w.first(banking.TopicOrdersCreated, "order-3")
			r.Offset = 1000
			w.publish(deadLetter(r, banking.GroupPaiement, delivery.ReasonAuthoriser))
			w.showAll()
		}, []string{"dead_letter_without_order order-3"}},
		"view gone": {func(w *world, _ record.Place) {
			delete(w.views, "order-3")
		}, []string{"view_missing order-3"}},
		"view of no order": {func(w *world, _ record.Place) {
			w.views["order-99"] = View{OrderID: "order-99", Status: banking.OrderStatusCreated, Amount: 1}
		}, []string{"view_without_order order-99"}},
		"view that is ahead of its position": {func(w *world, _ record.Place) {
			w.create(1)
			w.views["order-12"] = View{OrderID: "order-12", Status: banking.OrderStatusCreated, Amount: 1}
		}, []string{"view_without_order order-12"}},
		"not counted": {func(w *world, _ record.Place) {
			delete(w.transactions, "order-3")
		}, []string{"not_counted order-3"}},
		"not counted and not in the totals": {func(w *world, _ record.Place) {
			delete(w.transactions, "order-3")
			w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].less(sumOf(1, 301))
		}, []string{"totals_wrong", "not_counted order-3"}},
		"counted wrong": {func(w *world, _ record.Place) {
			w.spoilTransaction("order-3", func(t *Transaction) { t.Amount-- })
		}, []string{"counted_wrong order-3"}},
		"counted without a result": {func(w *world, _ record.Place) {
			w.addTransaction(Transaction{OrderID: "order-99", EventID: "r", Status: banking.StatusAuthorized, Amount: 1, ProcessedAt: w.now})
		}, []string{"counted_without_result order-99"}},
		"counted twice in the totals": {func(w *world, _ record.Place) {
			w.totals[banking.StatusAuthorized] = w.totals[banking.StatusAuthorized].Plus(301)
		}, []string{"totals_wrong"}},
		"a cent too much in the totals": {func(w *world, _ record.Place) {
			w.totals[banking.StatusRejected] = w.totals[banking.StatusRejected].And(sumOf(0, 1))
		}, []string{"totals_wrong"}},
		"another user was counted": {func(w *world, _ record.Place) {
			w.spoilTransaction("order-3", func(t *Transaction) { t.UserID = "mallory" })
		}, []string{"counted_wrong order-3"}},
		"counted at another time": {func(w *world, _ record.Place) {
			w.spoilTransaction("order-3", func(t *Transaction) { t.ProcessedAt = t.ProcessedAt.Add(time.Hour) })
		}, []string{"counted_wrong order-3"}},
		"a minute has counted too much": {func(w *world, _ record.Place) {
			for n, m := range w.minutes {
				w.minutes[n] = Minute{n, m.Count + 100, m.Amount}
			}
		}, []string{"minutes_wrong"}},
		"a minute is gone": {func(w *world, _ record.Place) {
			clear(w.minutes)
		}, []string{"minutes_wrong"}},
		"a minute in which nothing was decided": {func(w *world, _ record.Place) {
			w.minutes[-5] = Minute{-5, 1, 1}
		}, []string{"minutes_wrong"}},
		"suivi's count": {func(w *world, _ record.Place) {
			w.counts[banking.OrderStatusAuthorized] += 1000
		}, []string{"count_wrong"}},
		"decided again under the same event": {func(w *world, _ record.Place) {
			m := w.outcome(orderAs("order-3", 301), banking.ResultEventID("event-3"), true)
			w.publish(m) // as it was decided, but later
			w.showAll()
		}, []string{"decided_twice order-3"}},
		"the ledger has another time": {func(w *world, _ record.Place) {
			row := w.ledger["order-3"]
			row.ProcessedAt = row.ProcessedAt.Add(time.Second)
			w.ledger["order-3"] = row
		}, []string{"ledger_disagrees order-3"}},
		"created twice with other items": {func(w *world, _ record.Place) {
			order := orderAs("order-3", 301)
			order.Status, order.CreatedAt = banking.StatusCreated, w.now
			w.publish(must(delivery.Encode(order, "")))
			w.settle()
		}, []string{"created_twice order-3"}},
		"purged in the ledger alone": {func(w *world, _ record.Place) {
			w.ledger["order-11"] = LedgerRow{"order-11", "event-11", "", banking.StatusPurged, 0, w.now}
		}, []string{"ledger_without_purge order-11"}},
		"purged in the ledger, and no order": {func(w *world, _ record.Place) {
			w.ledger["order-99"] = LedgerRow{"order-99", "event-99", "", banking.StatusPurged, 0, w.now}
		}, []string{"ledger_without_purge order-99"}},
		"purged and decided": {func(w *world, letter record.Place) {
			w.purge(letter)
			w.ledger["order-11"] = LedgerRow{"order-11", "event-11", "", banking.StatusPurged, 0, w.now}
			order := orderAs("order-11", 1101)
			w.publish(w.outcome(order, banking.ResultEventID("event-11"), true))
		}, []string{"purged_and_decided order-11", "decided_and_dead_lettered order-11"}},
		"purged, with an amount": {func(w *world, letter record.Place) {
			at := w.purge(letter)
			w.paiement[at.Partition] = at.Offset + 1
			w.ledger["order-11"] = LedgerRow{"order-11", "event-11", "", banking.StatusPurged, 1101, w.now}
		}, []string{"ledger_disagrees order-11"}},
		"purged, with a result": {func(w *world, letter record.Place) {
			at := w.purge(letter)
			w.paiement[at.Partition] = at.Offset + 1
			w.ledger["order-11"] = LedgerRow{"order-11", "event-11", "r", banking.StatusPurged, 0, w.now}
		}, []string{"ledger_disagrees order-11"}},
		"purged, read, and not in the ledger": {func(w *world, letter record.Place) {
			at := w.purge(letter)
			w.paiement[at.Partition] = at.Offset + 1
			delete(w.ledger, "order-11")
		}, []string{"purge_without_ledger order-11"}},
		"more records than an order has": {func(w *world, _ record.Place) {
			for range maxFacts + 1 {
				w.publish(w.outcome(orderAs("order-3", 301), "forged", true))
			}
		}, []string{"too_many_records order-3"}},
		"a position beyond the end": {func(w *world, _ record.Place) {
			w.paiement[partitionOf(banking.TopicOrdersCreated, "order-3")] += 100
		}, []string{"outside_log"}},
		"records deleted before they were read": {func(w *world, _ record.Place) {
			_, at := w.create(1)
			w.cutLog(at.Partition, len(w.log[at.Partition]))
			w.suivi[at.Partition]++ // paiement alone is behind
		}, []string{"outside_log"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, letter := refused()
			tt.defect(w, letter)
			got := w.audit()
			checkSums(t, got)
			if diff := cmp.Diff(tt.want, named(got)); diff != "" {
				t.Errorf("differences (-want +got):\n%s%v", diff, got.Differences)
			}
		})
	}
}

// suivi keeps a bounded history.
func TestAnOrderThatFailsVeryOften(t *testing.T) {
	w, letter := refused()
	w.fails = func(banking.OrderCreated) bool { return true }
	for range banking.MaxOrderEvents {
		w.replay(letter)
		w.settle()
		letter.Offset += 2 // its marker and the next letter
	}
	if got := w.audit(); !got.AccountedFor || got.DeadLettered.Count != 1 {
		t.Errorf("%v", got.Differences)
	}
}

// Which result decides an order: one that names its event as its cause or by
// its own id, or the only one there is.
func TestTheResultOfAnOrder(t *testing.T) {
	derived := banking.ResultEventID("b")
	for name, tt := range map[string]struct {
		created int // events a, b, …
		results []result
		want    string // the event that decides b
	}{
		"named as the cause": {2, []result{{event: "x", cause: "a"}, {event: "y", cause: "b"}}, "y"},
		"named by its id":    {2, []result{{event: "x", cause: "a"}, {event: derived}}, derived},
		"of the other order": {2, []result{{event: "x", cause: "a"}}, ""},
		"the only one":       {1, []result{{event: "x"}}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &order{created: []creation{{event: "b"}, {event: "a"}}[:tt.created], results: tt.results}
			if got, ok := o.resultOf(eventsOf(o.created)[0]); got.event != tt.want || ok != (tt.want != "") {
				t.Errorf("decided by %q, %v; want %q", got.event, ok, tt.want)
			}
		})
	}
}
