package paiement

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
)

// ids are those of a cluster and its topics; changed has some of other values.
func ids(changed ...string) map[string]string {
	out := map[string]string{"cluster": "c"}
	for _, t := range banking.Topics() {
		out["topic "+t.Name] = "id of " + t.Name
	}
	for _, name := range changed {
		out[name] = "another"
	}
	return out
}

// used is a ledger that has decided order-1 and order-2, learned of the purge of
// order-3, and perhaps not published the decision on order-2.
func used(t *testing.T, url string, l *memlog.Log) {
	t.Helper()
	s := storeAt(t, url)
	publish(t, l, "order-1", authorised())
	purge(l, "order-3", "event-of-order-3")
	rebuildOn(t, s, l)
	p := record.Partition{Topic: banking.TopicOrdersCreated}
	message, err := delivery.Encode(outcome(order("order-2"), authorised(), now()), "event-of-order-2")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(s.Stamp(t.Context(), ids()), s.StartAt(t.Context(), p, 0), storeAll(t.Context(), deciderOn(s), decided(t, "order-2")),
		s.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(tx.Advance(t.Context(), p, 0, 2, now()), tx.Enqueue(t.Context(), p, 1, []record.Message{message}))
		}), s.Close())
	if err != nil {
		t.Fatal(err)
	}
}

// A reset keeps what the ledger knows, publishes what it had decided, and notes
// what nobody knows any more.
func TestAResetKeepsWhatTheLedgerKnows(t *testing.T) {
	onEach(t, func(t *testing.T, empty maker) {
		all := []string{"order-1", "order-2", "order-3"}
		for name, tt := range map[string]struct {
			replaced  string            // a topic
			now       map[string]string // identities
			committed int64
			lost, cut bool
			keeps     []string // orders
			published bool     // the decision on order-2
			horizon   bool
		}{
			"nothing has changed":                    {now: ids(), committed: 1, keeps: all, published: true},
			"decisions were replaced":                {banking.TopicPaymentsAuthorized, ids("topic payments.authorized"), 2, false, false, all, true, false},
			"decisions were replaced, an older copy": {banking.TopicPaymentsAuthorized, ids("topic payments.authorized"), 3, false, false, []string{"order-1", "order-3"}, false, true},
			"purges were replaced":                   {banking.TopicOrdersDLQ, ids("topic orders.dlq"), 1, false, false, all, true, false},
			"all that is published was cut":          {now: ids(), committed: 2, cut: true, keeps: all, published: true},
			"an older copy, and all was cut":         {now: ids(), committed: 3, cut: true, keeps: []string{"order-1", "order-3"}, horizon: true},
			"an older copy":                          {now: ids(), committed: 3, keeps: []string{"order-1", "order-3"}},
			"another cluster":                        {banking.TopicPaymentsAuthorized, ids("cluster"), 1, false, false, []string{"order-3"}, false, true},
			"lost":                                   {now: ids(), committed: 1, lost: true, keeps: []string{"order-1", "order-3"}},
			"lost, and decisions were replaced":      {banking.TopicPaymentsAuthorized, ids("topic payments.authorized"), 1, true, false, []string{"order-3"}, false, true},
		} {
			l := memlog.New(now)
			url := empty(t)
			if used(t, url, l); tt.lost {
				url = empty(t)
			}
			if tt.replaced != "" {
				l.Replace(tt.replaced)
			}
			if tt.cut { // also what the ledger has not read back
				publish(t, l, "order-1", authorised())
				l.Cut(placeOf(l, "order-1"), 2)
			}
			around := Surroundings{Identities: tt.now, Stamps: ids(), Log: l, Publisher: l,
				Began: kafka.Began{Committed: map[record.Partition]int64{{Topic: banking.TopicOrdersCreated}: tt.committed}}}
			for range 2 { // a second one, as after a crash, changes nothing
				r, err := OpenReset(t.Context(), url, around)
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(r.Do(t.Context()), r.Close()); err != nil {
					t.Fatal(err)
				}
				around.Began.Committed = nil
			}
			published := len(l.Records(placeOf(l, "order-2"))) > 0 && slices.ContainsFunc(l.Records(placeOf(l, "order-2")), func(r record.Record) bool { return string(r.Key) == "order-2" })
			if published != tt.published {
				t.Errorf("%s: published is %v", name, published)
			}
			s := rebuildOn(t, storeAt(t, url), l)
			settled, err := s.Settled(t.Context(), all)
			if got := slices.Sorted(maps.Keys(settled)); err != nil || !slices.Equal(got, tt.keeps) {
				t.Errorf("%s: it knows %v, want %v, %v", name, got, tt.keeps, err)
			}
			from, err := decidesFrom(t, s)
			if err != nil || from.IsZero() == tt.horizon || tt.horizon && from.Before(now().Truncate(time.Microsecond)) {
				t.Errorf("%s: decides from %v, %v", name, from, err)
			}
			if next, known, err := s.Position(t.Context(), record.Partition{Topic: banking.TopicOrdersCreated}); known || err != nil {
				t.Errorf("%s: it goes on at %d, %v", name, next, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// placeOf is the partition of payments.authorized that an order's decision is in.
func placeOf(l *memlog.Log, id string) record.Partition {
	at := l.Append(record.Message{Topic: banking.TopicPaymentsDLQ, Key: []byte(id)}).Partition
	at.Topic = banking.TopicPaymentsAuthorized
	return at
}

// Up to where orders are not decided says nothing of another topic's records.
func TestAResetForgetsPlacesOfAReplacedTopic(t *testing.T) {
	p := record.Partition{Topic: banking.TopicOrdersCreated}
	for name, want := range map[string]int64{"topic " + p.Topic: 0, "cluster": 0, "topic " + banking.TopicPaymentsAuthorized: 5} {
		l := memlog.New(now)
		url := "sqlite:" + t.TempDir()
		used(t, url, l)
		s := storeAt(t, url)
		err := errors.Join(s.Update(t.Context(), func(tx *storage.Tx) error { return raiseRow(t.Context(), tx, p.String(), 5) }), s.Close())
		if err != nil {
			t.Fatal(err)
		}
		r, err := OpenReset(t.Context(), url, Surroundings{Identities: ids(name), Stamps: ids(), Log: l, Publisher: l})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Do(t.Context()), r.Close()); err != nil {
			t.Fatal(err)
		}
		if h, err := (store{storeAt(t, url)}).Horizon(t.Context(), p); err != nil || h.before != want {
			t.Errorf("another %s: decides from offset %d (%v), want %d", name, h.before, err, want)
		}
	}
}

// What waits among the dead letters waits on, also when they have been read before.
func TestAResetLetsLettersWait(t *testing.T) {
	l := memlog.New(now)
	url := "sqlite:" + t.TempDir()
	used(t, url, l)
	waits := recordOf(t, order("order-4"), func(r *record.Record) { r.Offset = 7 })
	origin := record.Origin{Place: waits.Place, EventID: waits.Header(record.HeaderEventID), Group: banking.GroupPaiement, FailedAt: now()}
	l.Append(record.Message{Topic: banking.TopicOrdersDLQ, Key: waits.Key, Value: waits.Value, Headers: append(origin.Headers(), waits.Headers...)})
	s := storeAt(t, url)
	rebuildOn(t, s, l) // the ledger has read the letter
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReset(t.Context(), url, Surroundings{Identities: ids(), Log: l, Publisher: l})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Do(t.Context()), r.Close()); err != nil {
		t.Fatal(err)
	}
	aside, err := rebuildOn(t, storeAt(t, url), l).SetAside(t.Context(), []record.Record{waits})
	if err != nil || !strings.Contains(aside[7], "order-4") {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}
