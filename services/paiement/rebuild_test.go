package paiement

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/memlog"
)

// publish publishes the decision on an order.
func publish(t *testing.T, l *memlog.Log, id string, v Verdict) record.Place {
	t.Helper()
	o := order(id)
	message, err := delivery.Encode(outcome(o, v, now()), o.EventID)
	if err != nil {
		t.Fatal(err)
	}
	return l.Append(message)
}

// purge publishes the marker by which an order's letter is purged.
func purge(l *memlog.Log, id, event string) record.Place {
	m := record.Marker{Letter: record.At(banking.TopicOrdersDLQ, 0, 0), Resolution: record.Purged, At: now(), EventID: event}
	return l.Append(m.Message([]byte(id)))
}

func authorised() Verdict { return Verdict{Authorized: true, Code: "AUTH-1"} }

// rebuildOn rebuilds a storage's ledger.
func rebuildOn(t *testing.T, s *storage.Store, l kafka.Log) store {
	t.Helper()
	r := rebuild{store: store{s}, log: l, logger: slog.New(slog.NewTextHandler(io.Discard, nil)), now: now, progress: &rebuildProgress{}}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r.store
}

func TestALedgerIsRebuiltFromWhatWasPublished(t *testing.T) {
	onEach(t, testALedgerIsRebuiltFromWhatWasPublished)
}

func testALedgerIsRebuiltFromWhatWasPublished(t *testing.T, empty maker) {
	l := memlog.New(now)
	publish(t, l, "order-1", authorised())
	publish(t, l, "order-2", Verdict{Reason: "limit_exceeded"})
	publish(t, l, "order-1", authorised()) // published again after a crash
	o := order("order-3")
	withoutCause, err := delivery.Encode(outcome(o, authorised(), now()), "")
	if err != nil {
		t.Fatal(err)
	}
	withoutCause.Headers = withoutCause.Headers[:2]
	l.Append(withoutCause)
	l.Append(record.Message{Topic: banking.TopicPaymentsAuthorized, Key: []byte("order-9"), Value: []byte("{")})
	purge(l, "order-4", "event-of-order-4")
	purge(l, "order-2", "event-of-order-2") // which came too late
	purge(l, "order-5", "")                 // which ends no order
	replayed := record.Marker{Letter: record.At(banking.TopicOrdersDLQ, 0, 0), Resolution: record.Replayed, At: now()}
	l.Append(replayed.Message([]byte("order-6")))

	d := deciderOn(openStore(t, empty))
	rebuildOn(t, d.store.Store, l)
	var batch []record.Record
	for _, id := range []string{"order-1", "order-2", "order-3", "order-4", "order-5", "order-6", "order-9"} {
		batch = append(batch, recordOf(t, order(id), nil))
	}
	state, err := d.Load(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"order-1": "event-of-order-1", "order-2": "event-of-order-2", "order-3": "", "order-4": "event-of-order-4"}
	if !maps.Equal(state.settled, want) || !state.horizon.from.IsZero() {
		t.Errorf("the ledger knows %v, want %v, from %v on", state.settled, want, state.horizon.from)
	}
	for i, class := range []delivery.Class{delivery.ClassDuplicate, delivery.ClassDuplicate, delivery.ClassReject, delivery.ClassDuplicate} {
		if _, _, err := d.Handle(t.Context(), state, batch[i]); delivery.ClassOf(err) != class {
			t.Errorf("%s: %v of class %v, want %v", batch[i].Key, err, delivery.ClassOf(err), class)
		}
	}
	statuses := map[string]string{}
	for _, id := range []string{"order-1", "order-2", "order-4"} {
		var status string
		if err := d.store.QueryRow(t.Context(), `SELECT status FROM ledger WHERE order_id = $1`, id).Scan(&status); err != nil {
			t.Fatal(err)
		}
		statuses[id] = status
	}
	if diff := cmp.Diff(map[string]string{"order-1": "AUTHORIZED", "order-2": "REJECTED", "order-4": "PURGED"}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestWhatWasSetAsideIsNotTriedAgainByARebuild(t *testing.T) {
	onEach(t, testWhatWasSetAsideIsNotTriedAgainByARebuild)
}

// Orders that wait among the dead letters go on to wait when a new ledger reads
// them again: only a replay, which is another record, has them decided. What this
// storage is past needs no note.
func testWhatWasSetAsideIsNotTriedAgainByARebuild(t *testing.T, empty maker) {
	l := memlog.New(now)
	at := func(offset int64) func(*record.Record) { return func(r *record.Record) { r.Offset = offset } }
	aside, fresh := recordOf(t, order("order-1"), at(3)), recordOf(t, order("order-2"), at(4))
	for _, group := range []string{banking.GroupPaiement, banking.GroupSuivi} {
		of := aside
		if group != banking.GroupPaiement {
			of = fresh // what another group has set aside is for paiement to decide
		}
		origin := record.Origin{Place: of.Place, EventID: of.Header(record.HeaderEventID), Group: group, FailedAt: now()}
		l.Append(record.Message{Topic: banking.TopicOrdersDLQ, Key: of.Key, Value: of.Value, Headers: append(origin.Headers(), of.Headers...)})
	}
	s := openStore(t, empty)
	d := deciderOn(s)
	rebuildOn(t, s, l)
	batch := []record.Record{aside, fresh, recordOf(t, order("order-1"), at(5))}
	state, err := d.Load(t.Context(), batch)
	if err != nil || !maps.Equal(state.aside, map[int64]string{3: aside.Header(record.HeaderEventID)}) {
		t.Fatalf("set aside: %v, %v", state.aside, err)
	}
	if _, _, err := d.Handle(t.Context(), state, aside); !errors.Is(err, delivery.ErrDuplicate) {
		t.Errorf("a record that was set aside: %v, want a duplicate", err)
	}
	d.authoriser = Simulation{}
	replaced := recordOf(t, order("order-3"), at(3))
	if _, _, err := d.Handle(t.Context(), state, replaced); err != nil {
		t.Errorf("another record in the place of one that was set aside, as of a topic made again: %v", err)
	}

	other := openStore(t, empty)
	if err := other.StartAt(t.Context(), aside.Partition, aside.Offset+1); err != nil {
		t.Fatal(err)
	}
	rebuildOn(t, other, l)
	if aside, err := (store{other}).SetAside(t.Context(), batch); err != nil || len(aside) > 0 {
		t.Errorf("a storage that is past it: %v, %v", aside, err)
	}
}

func TestARebuiltEntryIsTheOneThatWasLost(t *testing.T) {
	onEach(t, testARebuiltEntryIsTheOneThatWasLost)
}

func testARebuiltEntryIsTheOneThatWasLost(t *testing.T, empty maker) {
	entryOf := func(s *storage.Store) (e LedgerRow) {
		t.Helper()
		var micros int64
		if err := s.QueryRow(t.Context(), `SELECT order_id, event_id, result_event_id, status, amount, processed_at FROM ledger`).
			Scan(&e.OrderID, &e.EventID, &e.ResultEventID, &e.Status, &e.Amount, &micros); err != nil {
			t.Fatal(err)
		}
		if micros != now().UnixMicro() {
			t.Errorf("processed at %d", micros)
		}
		return e
	}
	lost := deciderOn(openStore(t, empty))
	if err := storeAll(t.Context(), lost, decided(t, "order-1")); err != nil {
		t.Fatal(err)
	}
	l := memlog.New(now)
	publish(t, l, "order-1", authorised())
	rebuilt := rebuildOn(t, openStore(t, empty), l)
	if diff := cmp.Diff(entryOf(lost.store.Store), entryOf(rebuilt.Store)); diff != "" {
		t.Errorf("rebuilt (-lost +rebuilt):\n%s", diff)
	}
	if got := entryOf(rebuilt.Store).Status; got != banking.StatusAuthorized {
		t.Errorf("status %s", got)
	}
}

// endless is a log whose read does not end before it is told to.
type endless struct {
	*memlog.Log
	reading chan struct{}
}

func (l endless) ScanHoles(ctx context.Context, spans []kafka.Span, read func(record.Record) error, hole func(kafka.Span)) error {
	if err := l.Log.ScanHoles(ctx, spans, read, hole); err != nil {
		return err
	}
	close(l.reading)
	<-ctx.Done()
	return ctx.Err()
}

// A rebuild says how far it is, and stops when it is told to.
func TestARebuildReportsItsProgressAndStops(t *testing.T) {
	l := endless{memlog.New(now), make(chan struct{})}
	publish(t, l.Log, "order-1", authorised())
	purge(l.Log, "order-2", "event-of-order-2")
	progress := &rebuildProgress{}
	r := rebuild{store: store{openSQLite(t)}, log: l, logger: slog.New(slog.DiscardHandler), now: now, progress: progress}
	if err := progress.Check(t.Context()); err != nil || progress.left() != 0 {
		t.Errorf("before: %v, %d left", err, progress.left())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	<-l.reading
	if err := progress.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "1 of 2 records read") || progress.left() != 1 {
		t.Errorf("meanwhile: %v, %d left", err, progress.left())
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if err := progress.Check(t.Context()); err != nil || progress.left() != 0 {
		t.Errorf("afterwards: %v, %d left", err, progress.left())
	}
	if known, _, err := r.readBefore(t.Context()); err != nil || len(known) > 0 {
		t.Errorf("the next start does not begin again: %v, %v", known, err)
	}
}

// What stands behind an open transaction is final, and is not missed: the rebuild
// waits for it, says so, and stops when it is told to.
func TestARebuildWaitsForWhatIsHidden(t *testing.T) {
	for name, stopped := range map[string]bool{"shown": false, "stopped": true} {
		synctest.Test(t, func(t *testing.T) {
			l := memlog.New(now)
			place := publish(t, l, "order-1", authorised())
			l.Hide(place.Partition)
			publish(t, l, "order-1", authorised()) // in the same partition
			marker := purge(l, "order-2", "event-of-order-2")
			l.Hide(marker.Partition)
			purge(l, "order-2", "event-of-order-2")
			progress := &rebuildProgress{}
			var logged strings.Builder
			r := rebuild{store: store{openSQLite(t)}, log: l, logger: slog.New(slog.NewTextHandler(&logged, nil)), now: now, progress: progress}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- r.run(ctx) }()
			_ = lifecycle.Sleep(ctx, time.Minute)
			synctest.Wait()
			err := progress.Check(ctx)
			if err == nil || !strings.Contains(err.Error(), "an open transaction hides what stands in payments.authorized/") || progress.left() != 2 {
				t.Errorf("%s: ready: %v, %d left", name, err, progress.left())
			}
			if n := strings.Count(logged.String(), "the ledger waits for what was published"); n < 2 || n > 10 {
				t.Errorf("%s: told %d times: %s", name, n, logged.String())
			}
			l.Show(place.Partition)
			_ = lifecycle.Sleep(ctx, time.Minute)
			if known, _, err := r.readBefore(ctx); err != nil || len(known) > 0 {
				t.Errorf("%s: read back before all could be read: %v, %v", name, known, err)
			}
			if stopped {
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("stopped: %v", err)
				}
				return
			}
			l.Show(marker.Partition)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			settled, err := r.store.Settled(ctx, []string{"order-1", "order-2"})
			if known, _, _ := r.readBefore(ctx); err != nil || len(settled) != 2 || known[place.Partition] != 2 || known[marker.Partition] != 2 {
				t.Errorf("settled %v (%v), read back to %v", settled, err, known)
			}
		})
	}
}

// A ledger that somebody has put back from a copy learns what was decided and
// purged since, and that it cannot know what was cut since.
func TestAnOlderCopyLearnsWhatWasSettledSince(t *testing.T) {
	l := memlog.New(now)
	publish(t, l, "order-1", authorised())
	copied := openSQLite(t)
	rebuildOn(t, copied, l)
	decision := publish(t, l, "order-2", authorised())
	purge(l, "order-3", "event-of-order-3")
	s := rebuildOn(t, copied, l)
	settled, err := s.Settled(t.Context(), []string{"order-1", "order-2", "order-3"})
	if err != nil || len(settled) != 3 {
		t.Errorf("the copy knows %v, %v", settled, err)
	}
	l.Cut(decision.Partition, decision.Offset+1) // which the copy has read
	if from, err := decidesFrom(t, rebuildOn(t, copied, l)); err != nil || !from.IsZero() {
		t.Errorf("cut after it was read: decides from %v, %v", from, err)
	}
	unseen := publish(t, l, "order-2", authorised())
	l.Cut(unseen.Partition, unseen.Offset+1)
	if from, err := decidesFrom(t, rebuildOn(t, copied, l)); err != nil || !from.Equal(now().Add(time.Microsecond).Truncate(time.Microsecond)) {
		t.Errorf("cut before it was read: decides from %v, %v", from, err)
	}
}
