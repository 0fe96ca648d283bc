package model_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
	"github.com/vigie-dev/vigie/telemetry/otelkafka"
)

// world is the bank as far as an order's life goes: the topics in memory, the
// real commande and paiement on storages of their own, and what was seen of each
// order, which nothing in here forgets.
type world struct {
	t          *rapid.T
	ctx        context.Context
	folder     string // of this run
	instrument *otelkafka.Instrumentation
	authoriser *authoriser

	log       *memlog.Log
	desk      *commande.Desk
	desks     int                            // how often commande's storage was lost
	ledger    *paiement.Ledger               // nil while paiement is stopped
	made      int                            // ledgers: each reset makes the next
	backup    string                         // a copy of the ledger, "" for none
	commits   map[record.Partition]committed // of paiement's group
	known     *kafka.Identity                // what paiement says with them
	views     *suivi.Views                   // nil while suivi is stopped
	viewsMade int
	// viewsTopics are the topics that suivi began with.
	viewsTopics  map[string]string
	replacements map[string]int // how often each topic was deleted and created again
	used         []used
	orders       map[string]*life
	given        int64 // the number of the id that commande gave last
	strangers    int   // orders that others published

	deskTime, ledgerTime clock
	clockSet             bool          // has either been?
	mostAhead            time.Duration // of either, ever: orders and decisions say so
	// knownSince is from when on the ledger knows every decision, whatever it
	// has forgotten or lost.
	knownSince time.Time
}

// shop is the user of all orders that are placed: keys stand for the same body then.
const shop = "shop"

// used is a key that a client has used, and the order that it stands for.
type used struct {
	client, key string
	amount      banking.Money
	event       string
	since       time.Time
}

// clock is a machine's, which somebody may set.
type clock struct {
	system storage.Clocks
	set    time.Duration
}

func (c *clock) read() storage.Instant {
	now := c.system()
	now.Wall = now.Wall.Add(c.set)
	return now
}

// life is what was seen of an order.
type life struct {
	event    string // its own, as published first
	client   string
	ahead    bool                // it says that it was placed later than it was
	accepted bool                // its client got a 201
	stored   bool                // a ledger has decided it; forgotten with a ledger whose decision nobody saw
	results  map[string]struct{} // the values of its decisions, as published
	ended    map[string]bool     // by event: it was decided, or is among the dead letters
	purged   bool                // before it was decided
	shared   bool                // a stranger has published an order under its id
	seen     bool                // and commande has seen that, before it gave the id
}

// authoriser changes its mind: deciding an order twice shows.
type authoriser struct {
	fails bool
	mind  int
}

var errAuthoriser = errors.New("the authoriser has failed")

func (a *authoriser) Authorise(context.Context, string, banking.Money) (paiement.Verdict, error) {
	if a.fails {
		return paiement.Verdict{}, errAuthoriser
	}
	if a.mind++; a.mind%3 == 0 {
		return paiement.Verdict{Reason: fmt.Sprint("mind ", a.mind)}, nil
	}
	return paiement.Verdict{Authorized: true, Code: fmt.Sprint("AUTH-", a.mind)}, nil
}

// must fails the run: what is simulated here cannot fail.
func (w *world) must(err error) {
	if err != nil {
		w.t.Fatalf("%v", err)
	}
}

func (w *world) life(id string) *life {
	if w.orders[id] == nil {
		w.orders[id] = &life{results: map[string]struct{}{}, ended: map[string]bool{}}
	}
	return w.orders[id]
}

// publish appends a message and notes what it says of its order.
func (w *world) publish(m record.Message) {
	l := w.life(string(m.Key))
	switch m.Topic {
	case banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected:
		l.results[string(m.Value)] = struct{}{}
		l.ended[record.Record{Headers: m.Headers}.Header(record.HeaderOriginalEventID)] = true
	case banking.TopicOrdersDLQ:
		if origin, _, err := record.ParseOrigin(record.Record{Headers: m.Headers}); err == nil && origin.Group == banking.GroupPaiement {
			l.ended[origin.EventID] = true
		}
	}
	w.log.Append(m)
}

// order is the message of an order's event.
func (w *world) order(e banking.OrderCreated) record.Message {
	value, err := banking.Encode(e)
	w.must(err)
	return record.Message{Topic: banking.TopicOrdersCreated, Key: []byte(e.OrderID), Value: value, Headers: []record.Header{
		{Key: record.HeaderEventID, Value: []byte(e.EventID)}, {Key: record.HeaderEventType, Value: []byte(e.Type())},
	}}
}

// place has a client place an order; Kafka's acknowledgement may be lost.
func (w *world) place(client, key string, amount banking.Money, lost bool) {
	event, err := w.desk.Place(w.ctx, client, key, banking.OrderRequest{UserID: shop, Amount: amount},
		func(_ context.Context, e banking.OrderCreated) error {
			if l := w.life(e.OrderID); l.event != "" && l.event != e.EventID {
				w.t.Fatalf("%s was given twice", e.OrderID)
			} else if l.seen {
				w.t.Fatalf("%s was given, and is a stranger's", e.OrderID)
			} else {
				l.event, l.ahead = e.EventID, l.ahead || e.CreatedAt.After(time.Now())
			}
			w.given, _ = strconv.ParseInt(strings.TrimPrefix(e.OrderID, "order-"), 10, 64) // it is one
			w.use(used{client, key, amount, e.EventID, time.Now()})
			w.publish(w.order(e))
			if lost {
				return kafka.ErrUnacknowledged
			}
			return nil
		})
	if err != nil {
		return // the outcome is unknown, or the key stands for another order
	}
	w.use(used{client, key, amount, event.EventID, time.Now()})
	l := w.life(event.OrderID)
	if l.client != "" && l.client != client {
		w.t.Fatalf("%s was given %s, which is an order of %s", client, event.OrderID, l.client)
	}
	l.client, l.accepted = client, true
}

// use notes that a client's key stands for an order, as it has to for a day.
func (w *world) use(now used) {
	if now.key == "" {
		return
	}
	i := slices.IndexFunc(w.used, func(u used) bool { return u.client == now.client && u.key == now.key })
	if i < 0 {
		w.used = append(w.used, now)
		return
	}
	before := w.used[i]
	if before.event == now.event {
		return
	}
	if kept := now.since.Sub(before.since); kept < 24*time.Hour {
		w.t.Fatalf("%s of %s stood for its order for %v alone", now.key, now.client, kept)
	}
	w.used[i] = now
}

// deskURL is where commande's storage is.
func (w *world) deskURL() string {
	return "sqlite:" + filepath.Join(w.folder, fmt.Sprint("desk-", w.desks))
}

// openDesk starts commande. Where ids would repeat it is refused, and somebody
// resets everything.
func (w *world) openDesk() {
	if err := w.tryDesk(); errors.Is(err, commande.ErrIDsBehind) {
		w.reset()
	} else {
		w.must(err)
	}
}

func (w *world) tryDesk() error {
	desk, err := commande.OpenDesk(w.ctx, w.deskURL(), w.log, w.deskTime.read)
	if err != nil {
		return err
	}
	w.desk = desk
	w.prune(desk.Pruning())
	return nil
}

func (w *world) closeDesk() {
	if w.desk != nil {
		w.must(w.desk.Close())
		w.desk = nil
	}
}

// prune removes what is old, as a service does at its start and in intervals.
func (w *world) prune(p *storage.Pruning) {
	times, err := p.Look(w.ctx)
	w.must(err)
	_, _, err = p.Round(w.ctx, times)
	w.must(err)
}

// look has those that run look at the clock, as they do every minute.
func (w *world) look() {
	_, err := w.desk.Pruning().Look(w.ctx)
	w.must(err)
	if w.ledger != nil {
		_, err := w.ledger.Pruning().Look(w.ctx)
		w.must(err)
	}
}

// letters are those that wait, or all.
func (w *world) letters(all bool) (deadletters.Resolver, []deadletters.Letter) {
	source := deadletters.Source{Log: w.log, Topics: func() (names []string, err error) {
		for _, t := range banking.Topics() {
			names = append(names, t.Name)
		}
		return names, nil
	}}
	listing, err := source.List(w.ctx, deadletters.Filter{Open: !all}, nil)
	w.must(err)
	return deadletters.Resolver{Source: source, Publisher: w.log, Instrument: w.instrument}, listing.Letters
}

// purge gives a letter up. Its order is ended, unless a ledger has decided it.
func (w *world) purge(resolver deadletters.Resolver, l deadletters.Letter) {
	w.must(resolver.Purge(w.ctx, []deadletters.Letter{l}, func(o deadletters.Outcome) {
		order := w.life(l.Key)
		order.purged = order.purged || o.Err == nil && l.EventID != "" && !order.stored && len(order.results) == 0
	}))
}

// age cuts a partition as retention does, or leaves what it could cut. What
// paiement has yet to read stays: its lag is watched.
func (w *world) age(p record.Partition, slack time.Duration) {
	for _, t := range banking.Topics() {
		if t.Name != p.Topic {
			continue
		}
		before := time.Now().Add(-t.Retention - slack)
		for _, r := range w.log.Records(p) {
			if !r.Time.Before(before) || slices.Contains(banking.ReadBy(banking.GroupPaiement), p.Topic) && r.Offset >= w.position(p) {
				return
			}
			w.log.Cut(p, r.Offset+1)
		}
	}
}

// check is the promise.
func (w *world) check() {
	for id, l := range w.orders {
		switch {
		case l.ahead:
			// Replayed, it looks younger than what the ledger has forgotten.
		case l.shared:
			// Another's order may come when the first has been forgotten.
		case len(l.results) > 1:
			w.t.Fatalf("%s was decided more than once: %v", id, l.results)
		case l.purged && len(l.results) > 0:
			w.t.Fatalf("%s was purged, and decided later: %v", id, l.results)
		}
	}
}

// finish has everything read, and every order accounted for.
func (w *world) finish() {
	w.authoriser.fails = false
	for range 2 { // reading makes letters
		for _, span := range w.spans() {
			w.consume(span.Partition, everything, false)
		}
	}
	w.check()
	for id, l := range w.orders {
		if l.accepted && !l.ended[l.event] && !l.purged {
			w.t.Fatalf("%s got its 201, and is neither decided nor dead-lettered nor purged: %v", id, l.ended)
		}
	}
	w.show(0, everything)
	w.checkViews()
	w.stop()
	w.closeViews()
	w.closeDesk()
}
