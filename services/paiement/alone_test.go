package paiement

import (
	"context"
	"errors"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
)

// startAt starts paiement as far as its ledger goes, with what its group says, and returns what
// it says itself from then on.
func startAt(t *testing.T, url string, l *memlog.Log, identities map[string]string, began kafka.Began) (s store, says kafka.Began) {
	t.Helper()
	s = store{storeAt(t, url)}
	r := rebuild{store: s, log: l, logger: silent(), now: now, progress: &rebuildProgress{},
		began: func(context.Context) (kafka.Began, error) { return began, nil }}
	topics := kafka.NewIdentity(nil, settlements(), identities)
	if err := errors.Join(s.Stamp(t.Context(), identities), r.run(t.Context()), s.say(t.Context(), topics)); err != nil {
		t.Fatal(err)
	}
	says = topics.Nothing()
	topics.Read(&says, record.Partition{Topic: banking.TopicOrdersCreated}, 0, topics.Stamp())
	return s, says
}

// resetAt resets a ledger.
func resetAt(t *testing.T, url string, around Surroundings) {
	t.Helper()
	r, err := OpenReset(t.Context(), url, around)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Do(t.Context()), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// A ledger that knows what a topic held before it was made again is alone in that. Where it is
// lost, or an older copy takes its place, the group's offsets say that something is missing.
func TestALedgerThatWasAloneIsMissed(t *testing.T) {
	orders := record.Partition{Topic: banking.TopicOrdersCreated}
	l := memlog.New(now)
	urls := map[string]string{}
	for _, name := range []string{"ledger", "older copy", "copy between"} {
		urls[name] = "sqlite:" + t.TempDir()
	}
	l.Append(created(t, "order-1"))
	used(t, urls["ledger"], l)
	used(t, urls["older copy"], memlog.New(now))
	used(t, urls["copy between"], memlog.New(now))
	again := ids("topic " + banking.TopicPaymentsAuthorized)
	l.Replace(banking.TopicPaymentsAuthorized)
	began := kafka.Began{Now: again, Committed: map[record.Partition]int64{orders: 2}}
	around := Surroundings{Identities: again, Stamps: ids(), Began: began, Log: l, Publisher: l}
	resetAt(t, urls["ledger"], around)

	decides := func(name string, s store, want bool) {
		t.Helper()
		h, err := s.Horizon(t.Context(), orders)
		if err != nil || h.from.IsZero() != want {
			t.Errorf("%s: decides from %v, and from offset %d (%v); all is %v", name, h.from, h.before, err, want)
		}
	}
	s, says := startAt(t, urls["ledger"], l, again, began)
	decides("the ledger", s, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, says = startAt(t, urls["ledger"], l, again, says)
	decides("the ledger, started again", s, true)
	if own, err := s.Alone(t.Context()); err != nil || own[horizonName] < now().UnixMicro() {
		t.Errorf("the ledger is alone in knowing what was before %v (%v)", own, err)
	}

	s, saysNext := startAt(t, "sqlite:"+t.TempDir(), l, again, says)
	decides("a new ledger", s, false)
	s, _ = startAt(t, "sqlite:"+t.TempDir(), l, again, saysNext)
	decides("a second new ledger", s, false)

	around.Began = kafka.Began{Now: again} // as the reset has left the group, before the ledger has started
	resetAt(t, urls["copy between"], around)
	s, _ = startAt(t, urls["copy between"], l, again, around.Began)
	decides("an older copy in place of a ledger that has not started", s, false)

	around.Began = says // it has decided nothing yet: the copy seems to be as far
	resetAt(t, urls["older copy"], around)
	s, _ = startAt(t, urls["older copy"], l, again, says)
	decides("an older copy", s, false)
}
