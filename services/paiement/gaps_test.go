package paiement

import (
	"context"
	"errors"
	"io/fs"
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

// hour is so many hours after now.
func hour(n int) time.Time { return now().Add(time.Duration(n) * time.Hour).UTC() }

// decide publishes a decision on order-1 of that time.
func decide(t *testing.T, l *memlog.Log, at time.Time) record.Place {
	t.Helper()
	message, err := delivery.Encode(outcome(order("order-1"), authorised(), at), "event-of-order-1")
	if err != nil {
		t.Fatal(err)
	}
	return l.Append(message)
}

// giveUp publishes a purge of that time.
func giveUp(l *memlog.Log, id string, at time.Time) record.Place {
	m := record.Marker{Letter: record.At(banking.TopicOrdersDLQ, 0, 0), Resolution: record.Purged, At: at, EventID: "event-of-" + id}
	return l.Append(m.Message([]byte(id)))
}

// A rebuild knows from when on it can tell what was decided, and purged. Decisions
// and purges of three, two and one hours ago stand in the topics, each kind in one
// partition, and an order of half an hour ago.
func TestARebuildSetsTheHorizon(t *testing.T) {
	junk := func(l *memlog.Log, at *time.Time, value string) {
		*at = time.UnixMilli(60000)
		l.Append(record.Message{Topic: banking.TopicPaymentsAuthorized, Key: []byte("order-1"), Value: []byte(value)})
	}
	newest := hour(0).Add(-30 * time.Minute)
	for name, tt := range map[string]struct {
		gap  func(l *memlog.Log, decisions, purges [3]record.Place, at *time.Time)
		want time.Time
	}{
		"all is there":          {func(*memlog.Log, [3]record.Place, [3]record.Place, *time.Time) {}, time.Time{}},
		"the first decision":    {func(l *memlog.Log, d, _ [3]record.Place, _ *time.Time) { l.Cut(d[0].Partition, 1) }, hour(-1).Add(skew)},
		"the first two":         {func(l *memlog.Log, d, _ [3]record.Place, _ *time.Time) { l.Cut(d[0].Partition, 2) }, hour(-1).Add(skew)},
		"all decisions":         {func(l *memlog.Log, d, _ [3]record.Place, _ *time.Time) { l.Cut(d[0].Partition, 3) }, newest.Add(skew)},
		"one in the middle":     {func(l *memlog.Log, d, _ [3]record.Place, _ *time.Time) { l.Lose(d[1]) }, hour(-1).Add(skew)},
		"the last decision":     {func(l *memlog.Log, d, _ [3]record.Place, _ *time.Time) { l.Lose(d[2]) }, newest.Add(skew)},
		"the first purge":       {func(l *memlog.Log, _, p [3]record.Place, _ *time.Time) { l.Cut(p[0].Partition, 1) }, hour(-1).Add(skew)},
		"all purges":            {func(l *memlog.Log, _, p [3]record.Place, _ *time.Time) { l.Cut(p[0].Partition, 3) }, newest.Add(skew)},
		"a purge in the middle": {func(l *memlog.Log, _, p [3]record.Place, _ *time.Time) { l.Lose(p[1]) }, hour(-1).Add(skew)},
		"all decisions but a stranger's record with an old time": {func(l *memlog.Log, d, _ [3]record.Place, at *time.Time) {
			junk(l, at, "{}")
			l.Cut(d[0].Partition, 3)
		}, newest.Add(skew)},
		"decisions of a clock that was set back": {func(l *memlog.Log, d, _ [3]record.Place, at *time.Time) {
			for range 3 {
				*at = hour(-50)
				decide(t, l, hour(-50))
			}
			l.Cut(d[0].Partition, 2)
		}, hour(-1).Add(skew)},
		"decisions before one of the future": {func(l *memlog.Log, d, _ [3]record.Place, at *time.Time) {
			*at = hour(9999)
			decide(t, l, hour(9999))
			l.Cut(d[0].Partition, 1)
		}, hour(-1).Add(skew)},
		"all decisions, with one order of the future": {func(l *memlog.Log, d, _ [3]record.Place, at *time.Time) {
			*at = hour(9999)
			l.Append(created(t, "order-9"))
			l.Cut(d[0].Partition, 3)
		}, newest.Add(skew)},
	} {
		t.Run(name, func(t *testing.T) {
			at := hour(-3)
			l := memlog.New(func() time.Time { return at })
			decisions, purges := [3]record.Place{}, [3]record.Place{}
			for i := range decisions { // one key, so one partition
				decisions[i], purges[i] = decide(t, l, at), giveUp(l, "order-2", at)
				at = at.Add(time.Hour)
			}
			o := order("order-3")
			at, o.CreatedAt = newest, newest
			message, err := delivery.Encode(o, "")
			if err != nil {
				t.Fatal(err)
			}
			l.Append(message)
			tt.gap(l, decisions, purges, &at)
			got, err := decidesFrom(t, rebuildOn(t, openSQLite(t), l))
			if want := tt.want.Truncate(time.Microsecond); err != nil || !got.Equal(want) {
				t.Errorf("decides from %v (%v), want %v", got, err, want)
			}
		})
	}
}

// created is an order's message.
func created(t *testing.T, id string) record.Message {
	t.Helper()
	message, err := delivery.Encode(order(id), "")
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// A clock that is far ahead does not make every order too old for good, and one
// that is behind the records does not have orders decided again.
func TestTheHorizonIsNotTheClocksAlone(t *testing.T) {
	for name, clock := range map[string]time.Time{"a year ahead": hour(365 * 24), "a day behind": hour(-24)} {
		l := memlog.New(now)
		place := publish(t, l, "order-1", authorised())
		l.Append(created(t, "order-1"))
		l.Cut(place.Partition, 1)
		r := rebuild{store: store{openSQLite(t)}, log: l, logger: silent(), now: func() time.Time { return clock }, progress: &rebuildProgress{}}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		from, err := decidesFrom(t, r.store)
		if err != nil || !from.After(now().Truncate(time.Microsecond)) || from.After(now().Add(skew)) {
			t.Errorf("%s: decides from %v (%v), the newest event is of %v", name, from, err, now())
		}
	}
}

// A ledger that is lost, and begins anew without a reset, does not decide what was decided
// in a topic that another has replaced since: the group's offsets say that it has.
func TestALostLedgerSeesThatATopicWasReplaced(t *testing.T) {
	for name, others := range map[string][]string{"decisions": {banking.TopicPaymentsAuthorized}, "purges": {banking.TopicOrdersDLQ}, "": nil} {
		l := memlog.New(now)
		l.Append(created(t, "order-1"))
		s := openSQLite(t)
		r := rebuild{store: store{s}, log: l, logger: silent(), now: now, progress: &rebuildProgress{},
			began: func(context.Context) (kafka.Began, error) { return kafka.Began{Others: others}, nil }}
		for range 2 { // a second start knows all that there is
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		from, err := decidesFrom(t, r.store)
		if err != nil || from.IsZero() != (others == nil) {
			t.Errorf("other %s: decides from %v (%v)", name, from, err)
		}
		if others == nil {
			continue
		}
		d := deciderOn(s)
		repeated := recordOf(t, order("order-1"), func(r *record.Record) { r.Offset = 9 }) // a replay, which stands behind everything
		state, err := d.Load(t.Context(), []record.Record{repeated})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.Handle(t.Context(), state, repeated); delivery.ClassOf(err) != delivery.ClassReject {
			t.Errorf("other %s: what may have been decided: %v", name, err)
		}
	}
	fails := rebuild{store: store{openSQLite(t)}, log: memlog.New(now), logger: silent(), now: now, progress: &rebuildProgress{},
		began: func(context.Context) (kafka.Began, error) { return kafka.Began{}, errors.New("away") }}
	if err := fails.run(t.Context()); err == nil {
		t.Error("a ledger begins without having looked")
	}
}

// Where nothing stands behind a gap, no order that stands in the log is decided,
// however few events there are to tell that the clock is behind; what comes later is.
func TestOrdersThatStandBehindNoDecisionAreNotDecided(t *testing.T) {
	at := hour(-40 * 24)
	l := memlog.New(func() time.Time { return at })
	old := order("order-1")
	old.CreatedAt = at
	message, err := delivery.Encode(old, "")
	if err != nil {
		t.Fatal(err)
	}
	l.Append(message)
	decide(t, l, at)
	at = hour(0)
	place := l.Append(created(t, "order-3"))
	lost := publish(t, l, "order-3", authorised())
	l.Cut(lost.Partition, lost.Offset+1)
	r := rebuild{store: store{openSQLite(t)}, log: l, logger: silent(), now: func() time.Time { return hour(-25) }, progress: &rebuildProgress{}}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	decides := func(offset int64) bool {
		t.Helper()
		d := deciderOn(r.store.Store)
		d.authoriser = Simulation{}
		again := l.Records(place.Partition)[place.Offset]
		again.Offset = offset
		d.purges = newUnread(d.store, l)
		state, err := d.Load(t.Context(), []record.Record{again})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Handle(t.Context(), state, again)
		var failure *delivery.Failure
		if err != nil && (!errors.As(err, &failure) || failure.Reason != delivery.ReasonTooOld) {
			t.Fatal(err)
		}
		return err == nil
	}
	if decides(place.Offset) {
		t.Error("an order is decided whose decision was lost")
	}
	if !decides(place.Offset + 1) {
		t.Error("a later record is set aside too")
	}
	if _, lowered, err := r.store.Lower(t.Context(), hour(-24)); err != nil || !lowered {
		t.Fatalf("lowered: %v, %v", lowered, err)
	}
	if from, err := decidesFrom(t, r.store); err != nil || !from.Equal(hour(-24).Truncate(time.Microsecond)) || !decides(place.Offset) {
		t.Errorf("on request it decides from %v, %v", from, err)
	}
}

// Where nothing at all is left, it is now. One that has been read by an instance
// that runs is not rebuilt again.
func TestTimesThatSayNothing(t *testing.T) {
	l := memlog.New(now)
	place := publish(t, l, "order-1", authorised())
	l.Cut(place.Partition, 1)
	if got, err := decidesFrom(t, rebuildOn(t, openSQLite(t), l)); err != nil || !got.Equal(now().Add(time.Microsecond).Truncate(time.Microsecond)) {
		t.Errorf("decides from %v (%v), want just after now", got, err)
	}
	s := openSQLite(t)
	if err := s.StartAt(t.Context(), record.Partition{Topic: banking.TopicOrdersCreated, ID: 1}, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := decidesFrom(t, rebuildOn(t, s, l)); err != nil || !got.IsZero() {
		t.Errorf("a ledger in use decides from %v on, %v", got, err)
	}
}

// A topic that was made again lacks what the one before it had, which the storage
// says of the partitions of its topics.
func TestAReplacedTopicIsAGap(t *testing.T) {
	at := hour(-3)
	l := memlog.New(func() time.Time { return at })
	place := decide(t, l, at)
	s := openSQLite(t)
	rebuildOn(t, s, l)
	l.Replace(banking.TopicPaymentsAuthorized)
	at = hour(-2)
	l.Append(created(t, "order-2"))
	decide(t, l, at)
	if err := s.Update(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(t.Context(), insertReadBack, place.Topic, place.ID, replaced)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	r := rebuild{store: store{s}, log: l, logger: textLog(&logged), now: now, progress: &rebuildProgress{}}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if from, err := decidesFrom(t, r.store); err != nil || !from.Equal(hour(-2).Add(skew).Truncate(time.Microsecond)) {
		t.Errorf("decides from %v, %v", from, err)
	}
	if !strings.Contains(logged.String(), place.Partition.String()+" is of a topic that was made again") {
		t.Errorf("logged %s", logged.String())
	}
	// Read back, it is as any other.
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if from, err := decidesFrom(t, r.store); err != nil || !from.Equal(hour(-2).Add(skew).Truncate(time.Microsecond)) {
		t.Errorf("decides from %v, %v", from, err)
	}
}

// A log that has lost its end is read from its start, and what is written there
// afterwards is not missed.
func TestALogThatLostItsEndIsReadAgain(t *testing.T) {
	l := memlog.New(now)
	publish(t, l, "order-1", authorised())
	place := publish(t, l, "order-1", authorised())
	s := openSQLite(t)
	rebuildOn(t, s, l)
	l.Replace(place.Topic) // with fewer records under the same id
	publish(t, l, "order-1", authorised())
	rebuildOn(t, s, l)
	l.Replace(place.Topic)
	publish(t, l, "order-1", authorised())
	rebuildOn(t, s, l)
	if known, _, err := (&rebuild{store: store{s}}).readBefore(t.Context()); err != nil || known[place.Partition] != 1 {
		t.Errorf("read back to %v, %v", known, err)
	}
}

// Decisions of a clock that was far behind look old in a ledger that was rebuilt from
// them; they are kept for as long as others all the same.
func TestRebuiltEntriesAreKept(t *testing.T) {
	var passed time.Duration
	clocks := func() storage.Instant { return storage.Instant{Wall: now().Add(passed), Elapsed: passed} }
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(t.Context(), "sqlite:"+t.TempDir(), Name, own, storage.WithClocks(clocks))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	l := memlog.New(now)
	decide(t, l, hour(-91*24))
	ledger := rebuildOn(t, s, l)
	pruning := storage.Pruning{
		Store: s, Age: 90 * 24 * time.Hour, Forget: ledger.Forget,
		Newest: func(context.Context) (time.Time, error) { return now().Add(passed), nil },
	}
	for _, tt := range []struct {
		day  int
		want int64
	}{{0, 0}, {89, 0}, {91, 1}} {
		passed = time.Duration(tt.day) * 24 * time.Hour
		times, err := pruning.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, _, err := pruning.Round(t.Context(), times); err != nil || n != tt.want {
			t.Errorf("on day %d %d entries go (%v), want %d", tt.day, n, err, tt.want)
		}
	}
}
