// Package model_test follows orders through their whole lives: created, keyed,
// decided, dead-lettered, replayed, purged, pruned, cut by retention, reset,
// restored and rebuilt, in any order and over months, while topics are replaced and
// strangers write to them. Time and the topics are simulated; commande's ids and keys,
// paiement's handler, ledger and reset, suivi's handler and views, and what replays
// and purges letters are the real ones, and so is what removes what is old.
//
// model_test.go says what may happen, world_test.go has the clients, commande and the
// topics, ledger_test.go paiement, views_test.go suivi.
//
// What must hold is the promise: an order is decided once, nothing that was
// purged is decided later, and every order that got its 201 is decided, stands
// among the dead letters, or was purged; whatever the machines' clocks say. No
// order's id is given twice, or to an order after commande has seen a stranger's
// there, a client's key stands for one order for a day, and nobody is shown another's
// order or payment.
//
// It lives few lives unless told: make test-integration lives more of them. Or:
// go test ./test/model -rapid.checks=2000 -rapid.steps=60.
package model_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/checks"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	checks.Set("16", "200") // of many, nearly every fix that the model knows of is missed where it is taken out
	os.Exit(m.Run())
}

func TestAnOrdersLife(t *testing.T) {
	instrument, err := otelkafka.New(otelkafka.WithTelemetry(telemetrytest.New(t, "vigie-dlq", nil).Telemetry))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		folder := t.TempDir()
		inBubble(t, func(ctx context.Context) {
			w := &world{
				t: rt, ctx: ctx, folder: folder, instrument: instrument, authoriser: &authoriser{},
				log: memlog.New(time.Now), commits: map[record.Partition]committed{},
				orders: map[string]*life{}, replacements: map[string]int{},
			}
			w.deskTime.system, w.ledgerTime.system = storage.SystemClocks(), storage.SystemClocks()
			defer w.abandon()
			w.openDesk()
			rt.Repeat(w.actions())
			w.finish()
		})
	})
}

// inBubble runs a life in simulated time. A failure is rapid's to see, outside.
func inBubble(t *testing.T, live func(ctx context.Context)) {
	t.Helper()
	var failure any
	synctest.Test(t, func(t *testing.T) {
		defer func() { failure = recover() }()
		live(t.Context())
	})
	if failure != nil {
		panic(failure)
	}
}

// abandon closes what a failure left open: a bubble ends with all that is in it.
func (w *world) abandon() {
	if w.ledger != nil {
		_ = w.ledger.Close()
	}
	if w.desk != nil {
		_ = w.desk.Close()
	}
	if w.views != nil {
		_ = w.views.Close()
	}
}

// actions are what may happen to orders, to paiement and to the ground under
// both.
func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":                 func(*rapid.T) { w.check() },
		"place":            w.placeOne,
		"place one more":   w.placeOne, // under other names, what is to happen more often
		"place again":      w.placeAgain,
		"repeat":           w.placeAgain,
		"consume":          w.consumeSome,
		"consume all":      w.consumeAll,
		"consume the rest": w.consumeAll,
		"resolve letter":   w.resolveOne,
		"look at letter":   w.resolveOne,
		"let time pass":    w.passTime,
		"retention":        w.cutAged,
		"lose decisions":   w.loseDecisions,
		"prune":            w.pruneAll,
		"forget":           w.forget,
		"set clock":        w.setClock,
		"begin anew":       w.beginAnew,
		"stranger":         w.placeByStranger,
		"stranger decides": w.decideByStranger,
		"commande":         w.restartDesk,
		"show":             w.showSome,
		"replace topic":    w.replaceTopic,
		"lose ledger":      w.loseTheLedger,
		"reset":            func(*rapid.T) { w.tick(); w.reset() },
		"back up":          func(*rapid.T) { w.tick(); w.copyLedger() },
		"restore": func(t *rapid.T) {
			if w.backup == "" || w.untold() {
				t.Skip("there is no copy, or nothing could tell that it is from before a topic was replaced")
			}
			w.tick()
			w.restore()
		},
	}
}

// tick has no two things happen at the same moment.
func (w *world) tick() { w.pass(time.Millisecond) }

// pass has the time pass that the bubble simulates.
func (w *world) pass(d time.Duration) { <-time.After(d) }

func (w *world) placeOne(t *rapid.T) {
	w.tick()
	w.place(rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "client"), rapid.SampledFrom([]string{"", "k1", "k2"}).Draw(t, "key"),
		banking.Money(rapid.Int64Range(1, 3).Draw(t, "amount")), rapid.Bool().Draw(t, "acknowledgement lost"))
}

func (w *world) placeAgain(t *rapid.T) {
	if len(w.used) == 0 {
		t.Skip("no key was used")
	}
	w.tick()
	u := rapid.SampledFrom(w.used).Draw(t, "key")
	w.place(u.client, u.key, u.amount, rapid.Bool().Draw(t, "acknowledgement lost"))
}

func (w *world) consumeSome(t *rapid.T) {
	w.tick()
	spans := w.spans()
	p := spans[rapid.IntRange(0, len(spans)-1).Draw(t, "partition")].Partition
	w.authoriser.fails = rapid.IntRange(0, 3).Draw(t, "authoriser fails") == 3
	w.consume(p, rapid.IntRange(1, 4).Draw(t, "records"), rapid.Bool().Draw(t, "crash"))
}

// consumeAll has paiement read all that there is.
func (w *world) consumeAll(t *rapid.T) {
	w.tick()
	w.authoriser.fails = rapid.IntRange(0, 3).Draw(t, "authoriser fails") == 3
	for _, span := range w.spans() {
		w.consume(span.Partition, everything, false)
	}
}

func (w *world) resolveOne(t *rapid.T) {
	w.tick()
	resolver, letters := w.letters(rapid.Bool().Draw(t, "again"))
	if len(letters) == 0 {
		t.Skip("there are no letters")
	}
	l := letters[rapid.IntRange(0, len(letters)-1).Draw(t, "letter")]
	if rapid.Bool().Draw(t, "purge") {
		w.purge(resolver, l)
		return
	}
	w.must(resolver.Replay(w.ctx, []deadletters.Letter{l}, func(deadletters.Outcome) {}))
}

func (w *world) passTime(t *rapid.T) {
	w.pass(time.Duration(rapid.SampledFrom([]int{1, 25, 24 * 8, 24 * 20, 24 * 40}).Draw(t, "hours")) * time.Hour)
	w.look()
}

// cutAged has retention look at one topic: each partition's segments roll on their
// own.
func (w *world) cutAged(t *rapid.T) {
	w.tick()
	topics := banking.Topics()
	topic := topics[rapid.IntRange(0, len(topics)-1).Draw(t, "topic")]
	for id := range int32(banking.Partitions) {
		slack := rapid.IntRange(0, 9).Draw(t, "slack in days")
		w.age(record.Partition{Topic: topic.Name, ID: id}, time.Duration(slack)*24*time.Hour)
	}
}

// loseDecisions cuts decisions whatever their age, as a bound on bytes or
// somebody's DeleteRecords does, or leaves a hole, as a salvage does.
func (w *world) loseDecisions(t *rapid.T) {
	w.tick()
	p := record.Partition{
		Topic: rapid.SampledFrom([]string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}).Draw(t, "topic"),
		ID:    rapid.Int32Range(0, banking.Partitions-1).Draw(t, "partition"),
	}
	records := w.log.Records(p)
	if len(records) == 0 {
		return
	}
	last := records[rapid.IntRange(0, len(records)-1).Draw(t, "record")].Place
	if rapid.Bool().Draw(t, "a hole") {
		w.log.Lose(last)
	} else {
		w.log.Cut(p, last.Offset+1)
	}
}

// forget removes what is older than any time at all, so that letters outlive
// decisions.
func (w *world) forget(t *rapid.T) {
	if w.clockSet {
		t.Skip("the ledger would rightly forget nothing")
	}
	w.tick()
	w.start()
	w.must(w.ledger.Forget(w.ctx, time.Now().Add(-time.Duration(rapid.IntRange(0, 2400).Draw(t, "hours"))*time.Hour)))
	w.learned()
}

func (w *world) pruneAll(*rapid.T) {
	w.tick()
	w.start()
	w.prune(w.ledger.Pruning())
	w.prune(w.desk.Pruning())
}

// setClock sets one machine's clock, or puts it right.
func (w *world) setClock(t *rapid.T) {
	by := time.Duration(rapid.SampledFrom([]int{0, 25, -25, 24 * 91, -24 * 91}).Draw(t, "hours")) * time.Hour
	if rapid.Bool().Draw(t, "of commande") {
		w.setClocks(by, w.ledgerTime.set)
	} else {
		w.setClocks(w.deskTime.set, by)
	}
}

func (w *world) setClocks(desk, ledger time.Duration) {
	w.tick()
	w.look()
	w.deskTime.set, w.ledgerTime.set, w.clockSet = desk, ledger, true
	w.mostAhead = max(w.mostAhead, desk, ledger)
	w.look()
}

// loseTheLedger has paiement start on an empty folder, with or without a reset.
func (w *world) loseTheLedger(t *rapid.T) {
	if w.untold() {
		t.Skip("what a topic had that was replaced would go with it")
	}
	w.tick()
	w.loseLedger()
	if rapid.Bool().Draw(t, "reset") {
		w.reset()
	}
	w.start()
}

// replaceTopic deletes a topic and creates it again while the services are down, and the
// ledger may be lost with it. What orders.created held has been decided or set aside before: who
// deletes orders that nobody has read loses them.
func (w *world) replaceTopic(t *rapid.T) {
	topics := banking.Topics()
	topic := topics[rapid.IntRange(0, len(topics)-1).Draw(t, "topic")].Name
	if topic == banking.TopicOrdersCreated {
		w.consumeAll(t)
	}
	w.tick()
	w.stop()
	w.closeDesk()
	w.loseViews()
	w.log.Replace(topic)
	w.replacements[topic]++
	for id := range int32(banking.Partitions) {
		delete(w.commits, record.Partition{Topic: topic, ID: id}) // Kafka forgets them with the topic
	}
	if !w.untold() && rapid.Bool().Draw(t, "ledger lost") {
		w.loseLedger()
	}
	w.openDesk()
	if rapid.Bool().Draw(t, "reset") {
		w.reset()
	}
}

// restartDesk crashes commande, which may lose its storage.
func (w *world) restartDesk(t *rapid.T) {
	w.tick()
	w.closeDesk()
	if len(w.replacements) == 0 && rapid.Bool().Draw(t, "storage lost") { // ids that only a topic knew went with it
		w.desks++
		w.used = nil
	}
	w.openDesk()
}

// beginAnew has commande lose its storage when retention has emptied orders.created,
// or every topic: what ids were given stands in other topics then, or nowhere.
func (w *world) beginAnew(t *rapid.T) {
	if len(w.replacements) > 0 {
		t.Skip("ids that only a topic knew went with it")
	}
	w.consumeAll(t)
	w.pass(time.Duration(rapid.SampledFrom([]int{8, 40}).Draw(t, "days")) * 24 * time.Hour)
	w.look()
	w.tick()
	for _, topic := range banking.Topics() {
		for id := range int32(banking.Partitions) {
			w.age(record.Partition{Topic: topic.Name, ID: id}, 0)
		}
	}
	w.closeDesk()
	w.desks++
	w.used = nil
	w.openDesk()
	w.placeOne(t)
}

// placeByStranger has somebody else publish an order under the id that commande
// gives next, under a later one, or under the largest that there is. commande may see it, and
// then gives none of them.
func (w *world) placeByStranger(t *rapid.T) {
	w.tick()
	number := rapid.SampledFrom([]int64{w.given + 1, w.given + 2, math.MaxInt64}).Draw(t, "number")
	w.strangers++
	id := fmt.Sprint("order-", number)
	w.life(id).shared = true
	defer func() {
		if rapid.Bool().Draw(t, "seen") {
			w.must(w.desk.Look(w.ctx))
			w.life(id).seen = w.life(id).event == ""
		}
	}()
	w.publish(w.order(banking.OrderCreated{
		EventID: fmt.Sprint("stranger-", w.strangers), OrderID: id, UserID: "stranger", Amount: 1,
		CreatedAt: time.Now(), Status: banking.StatusCreated,
	}))
}
