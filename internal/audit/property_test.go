package audit

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// history lets a correct world go on by random steps: orders, decisions,
// failures, crashes between publishing and marking, replays and purges.
func history(t *rapid.T, w *world, label string, steps int) {
	partition := rapid.Int32Range(0, banking.Partitions-1)
	for range rapid.IntRange(0, steps).Draw(t, label) {
		switch rapid.SampledFrom([]string{
			"create", "create", "repeat", "decide", "decide", "fail", "publish", "crash", "show", "count", "replay", "purge", "junk",
		}).Draw(t, "step") {
		case "create":
			w.create(banking.Money(rapid.IntRange(1, 10_000).Draw(t, "amount")))
		case "repeat":
			if w.number > 0 {
				w.republish(banking.TopicOrdersCreated, fmt.Sprintf("order-%d", rapid.IntRange(1, w.number).Draw(t, "order")))
			}
		case "decide":
			w.decide(partition.Draw(t, "partition"))
		case "fail":
			w.fails = func(banking.OrderCreated) bool { return true }
			w.decide(partition.Draw(t, "partition"))
			w.fails = func(banking.OrderCreated) bool { return false }
		case "publish":
			w.flush()
			w.mark()
		case "crash":
			w.flush()
		case "show":
			w.show(record.Partition{Topic: rapid.SampledFrom(topicsOf(suivi)).Draw(t, "topic"), ID: partition.Draw(t, "partition")})
		case "count":
			w.count(record.Partition{Topic: rapid.SampledFrom(topicsOf(analyseur)).Draw(t, "topic"), ID: partition.Draw(t, "partition")})
		case "replay", "purge":
			w.resolve(t)
		case "junk":
			w.publish(record.Message{Topic: banking.TopicOrdersCreated, Key: []byte("junk"), Value: []byte("{}")})
		}
	}
}

// resolve replays or purges a dead letter that has an order, perhaps again.
func (w *world) resolve(t *rapid.T) {
	var letters []record.Place
	for id := range int32(banking.Partitions) {
		for _, r := range w.log[record.Partition{Topic: banking.TopicOrdersDLQ, ID: id}] {
			if order, fact := decode(r); order != "" {
				letters = append(letters, fact.(letter).at)
			}
		}
	}
	if len(letters) == 0 {
		return
	}
	at := rapid.SampledFrom(letters).Draw(t, "letter")
	if rapid.Bool().Draw(t, "replay") {
		w.replay(at)
	} else {
		w.purge(at)
	}
}

// live audits a world that goes on while it is looked at: between each two
// things that an audit asks for, it takes some steps.
func live(t *rapid.T, w *world) Report {
	s := State{Since: map[record.Partition]int64{}}
	for _, topic := range topics() {
		for _, span := range w.spans(topic) {
			s.Since[span.Partition] = span.End
		}
		history(t, w, "while the first ends are read", 3)
	}
	s.Paiement = w.state().Paiement
	history(t, w, "after paiement's state", 5)
	s.Suivi = w.state().Suivi
	history(t, w, "after suivi's state", 5)
	s.Analyseur = w.state().Analyseur
	history(t, w, "after analyseur's state", 5)
	l := NewLog()
	var spans []kafka.Span
	for _, topic := range topics() {
		spans = append(spans, w.spans(topic)...)
		history(t, w, "while the ends are read", 3)
	}
	l.Extend(spans)
	_ = w.scan(spans, func(r record.Record) error { l.Add(r); return nil })
	return Reconcile(l, s, time.Time{})
}

// Whatever a correct system does, and at whatever moments it is looked at, it
// audits clean at the first look.
func TestACorrectHistoryIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		history(t, w, "before", 60)
		got := live(t, w)
		checkSums(t, got)
		if !got.AccountedFor {
			t.Errorf("%v", got.Differences)
		}
	})
}

// defect spoils one thing of a settled world and returns what has to be found.
type defect func(t *rapid.T, w *world) (Kind, string)

func defects() map[string]defect {
	return map[string]defect{
		"ledger row gone": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.ledger)
			delete(w.ledger, id)
			return ResultWithoutLedger, id
		},
		"ledger amount": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.ledger)
			row := w.ledger[id]
			row.Amount += banking.Money(rapid.IntRange(1, 100).Draw(t, "cents"))
			w.ledger[id] = row
			return LedgerDisagrees, id
		},
		"ledger row added": func(_ *rapid.T, w *world) (Kind, string) {
			w.ledger["order-0"] = LedgerRow{OrderID: "order-0", Status: banking.StatusRejected, Amount: 1, ProcessedAt: w.now}
			return LedgerWithoutResult, "order-0"
		},
		"result added": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.ledger)
			w.publish(w.outcome(orderOf(id, 1), "forged", rapid.Bool().Draw(t, "authorized")))
			return DecidedTwice, id
		},
		"result gone": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.ledger)
			for p, records := range w.log {
				for i, r := range records {
					if string(r.Key) == id && (p.Topic == banking.TopicPaymentsAuthorized || p.Topic == banking.TopicPaymentsRejected) {
						records[i].Value = []byte("{}") // offsets stay
					}
				}
			}
			return LedgerWithoutResult, id
		},
		"order skipped": func(t *rapid.T, w *world) (Kind, string) {
			order, at := w.create(banking.Money(rapid.IntRange(1, 100).Draw(t, "amount")))
			w.next(w.paiement, at.Partition)
			w.settle()
			return Lost, order.OrderID
		},
		"order taken again": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.ledger)
			w.createAs(id, "another", w.ledger[id].Amount)
			w.settle()
			return CreatedTwice, id
		},
		"dead letters added": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.ledger)
			for _, r := range w.log[partitionOf(banking.TopicOrdersCreated, id)] {
				if string(r.Key) == id {
					w.publish(deadLetter(r, banking.GroupPaiement, delivery.ReasonAuthoriser))
				}
			}
			return DecidedAndDeadLettered, id
		},
		"view gone": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.views)
			delete(w.views, id)
			return ViewMissing, id
		},
		"view gone back": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.views)
			v := w.views[id]
			v.Status = map[banking.OrderStatus]banking.OrderStatus{
				banking.OrderStatusCreated: banking.OrderStatusFailed, banking.OrderStatusFailed: banking.OrderStatusCreated,
			}[v.Status]
			w.views[id] = v
			return ViewWrong, id
		},
		"not counted": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.transactions)
			delete(w.transactions, id)
			return NotCounted, id
		},
		"counted twice": func(t *rapid.T, w *world) (Kind, string) {
			sum := w.transactions[anyKey(t, w.transactions)]
			w.totals[sum.Status] = w.totals[sum.Status].plus(sum.Amount)
			return TotalsWrong, ""
		},
	}
}

func anyKey[T any](t *rapid.T, from map[string]T) string {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(from))).Draw(t, "order")
}

// A defect is found whatever else has happened.
func TestADefectIsFoundInAnyHistory(t *testing.T) {
	for name, spoil := range defects() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld()
				w.create(1) // there is something to spoil
				w.settle()
				history(t, w, "before", 40)
				w.settle()
				kind, id := spoil(t, w)
				got := w.audit()
				checkSums(t, got)
				if !slices.ContainsFunc(got.Differences, func(d Difference) bool { return d.Kind == kind && d.OrderID == id }) {
					t.Errorf("%s of %q was not found: %v", kind, id, named(got))
				}
			})
		})
	}
}
