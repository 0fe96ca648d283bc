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
			"create", "create", "repeat", "decide", "decide", "fail", "publish", "crash", "show", "count", "replay", "purge", "bind", "junk",
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
			w.tally(record.Partition{Topic: rapid.SampledFrom(topicsOf(analyseur)).Draw(t, "topic"), ID: partition.Draw(t, "partition")})
		case "replay", "purge":
			w.resolve(t)
		case "bind":
			w.bind(partition.Draw(t, "partition"))
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
			if _, original, err := record.ParseOrigin(r); err == nil {
				if _, err := delivery.DecodeAs[banking.OrderCreated](original); err == nil {
					letters = append(letters, r.Place)
				}
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
	s := stored{State: State{Since: map[record.Partition]int64{}}}
	for _, topic := range topics() {
		for _, span := range w.spans(topic) {
			s.Since[span.Partition] = span.End
		}
		history(t, w, "while the first ends are read", 3)
	}
	now := w.state()
	s.Paiement, s.ledger, s.pending = now.Paiement, now.ledger, now.pending
	history(t, w, "after paiement's state", 5)
	now = w.state()
	s.Suivi, s.views = now.Suivi, now.views
	history(t, w, "after suivi's state", 5)
	now = w.state()
	s.Analyseur, s.transactions, s.minutes = now.Analyseur, now.transactions, now.minutes
	history(t, w, "after analyseur's state", 5)
	var spans []kafka.Span
	for _, topic := range topics() {
		spans = append(spans, w.spans(topic)...)
		history(t, w, "while the ends are read", 3)
	}
	return reconcileAfter(w, spans, s, 0)
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
			id := w.anyDecided(t)
			delete(w.ledger, id)
			return ResultWithoutLedger, id
		},
		"ledger amount": func(t *rapid.T, w *world) (Kind, string) {
			id := w.anyDecided(t)
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
			id := w.anyDecided(t)
			w.publish(w.outcome(orderAs(id, 1), "forged", rapid.Bool().Draw(t, "authorized")))
			return DecidedTwice, id
		},
		"result gone": func(t *rapid.T, w *world) (Kind, string) {
			id := w.anyDecided(t)
			for p, records := range w.log {
				for i, r := range records {
					if string(r.Key) == id && (p.Topic == banking.TopicPaymentsAuthorized || p.Topic == banking.TopicPaymentsRejected) {
						records[i].Value = []byte("{}") // offsets stay
					}
				}
			}
			return LedgerWithoutResult, id
		},
		"purge forgotten": func(_ *rapid.T, w *world) (Kind, string) {
			w.fails = func(banking.OrderCreated) bool { return true }
			order, _ := w.create(1)
			w.settle()
			for id := range int32(banking.Partitions) {
				p := record.Partition{Topic: banking.TopicOrdersDLQ, ID: id}
				for i, r := range w.log[p] {
					if string(r.Key) == order.OrderID && r.Value != nil {
						w.purge(record.Place{Partition: p, Offset: w.start[p] + int64(i)})
						break
					}
				}
			}
			w.settle()
			delete(w.ledger, order.OrderID)
			return PurgeWithoutLedger, order.OrderID
		},
		"order skipped": func(t *rapid.T, w *world) (Kind, string) {
			order, at := w.create(banking.Money(rapid.IntRange(1, 100).Draw(t, "amount")))
			w.next(w.paiement, at.Partition)
			w.settle()
			return Lost, order.OrderID
		},
		"order taken again": func(t *rapid.T, w *world) (Kind, string) {
			id := w.anyDecided(t)
			w.createAs(id, "another", w.ledger[id].Amount)
			w.settle()
			return CreatedTwice, id
		},
		"dead letters added": func(t *rapid.T, w *world) (Kind, string) {
			id := w.anyDecided(t)
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
		"view's user":  func(t *rapid.T, w *world) (Kind, string) { return w.anyView(t, func(v *View) { v.UserID = "mallory" }) },
		"view's items": func(t *rapid.T, w *world) (Kind, string) { return w.anyView(t, func(v *View) { v.Items = nil }) },
		"view's code": func(t *rapid.T, w *world) (Kind, string) {
			return w.anyView(t, func(v *View) { v.AuthorizationCode += "x" })
		},
		"view's times": func(t *rapid.T, w *world) (Kind, string) {
			which := rapid.IntRange(0, 3).Draw(t, "time")
			return w.anyView(t, func(v *View) {
				at := []*time.Time{&v.CreatedAt, &v.ListedAt, &v.UpdatedAt, &v.History[0].At}[which]
				*at = at.Add(time.Hour)
			})
		},
		"suivi's count": func(t *rapid.T, w *world) (Kind, string) {
			w.counts[rapid.SampledFrom(statuses()).Draw(t, "status")] += rapid.Int64Range(1, 1000).Draw(t, "more")
			return CountWrong, ""
		},
		"a minute": func(t *rapid.T, w *world) (Kind, string) {
			n := rapid.SampledFrom(slices.Sorted(maps.Keys(w.minutes))).Draw(t, "minute")
			m := w.minutes[n]
			w.minutes[n] = Minute{n, m.Count, m.Amount + banking.Money(rapid.IntRange(1, 1000).Draw(t, "cents"))}
			return MinutesWrong, ""
		},
		"counted for another user": func(t *rapid.T, w *world) (Kind, string) {
			id := anyKey(t, w.transactions)
			w.spoilTransaction(id, func(t *Transaction) { t.UserID = "mallory" })
			return CountedWrong, id
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
			w.totals[sum.Status] = w.totals[sum.Status].Plus(sum.Amount)
			return TotalsWrong, ""
		},
	}
}

// anyView spoils one of the views.
func (w *world) anyView(t *rapid.T, spoil func(*View)) (Kind, string) {
	id := anyKey(t, w.views)
	w.spoilView(id, spoil)
	return ViewWrong, id
}

func (w *world) anyDecided(t *rapid.T) string {
	decided := maps.Clone(w.ledger)
	maps.DeleteFunc(decided, func(_ string, row LedgerRow) bool { return row.Status == banking.StatusPurged })
	return anyKey(t, decided)
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
