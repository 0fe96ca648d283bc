//go:build integration

package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/vigie-dev/vigie/internal/storage"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
)

// patience only bounds a wait for what does not come.
const patience = 2 * time.Minute

// instances opens one storage several times, as several processes do.
func instances(t *testing.T, url string, n int) []*storage.Store {
	t.Helper()
	all := make([]*storage.Store, n)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			var err error
			if all[i], err = storage.Open(t.Context(), url, "clerk", notes(), storage.MaxConnections(4)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		for _, s := range all {
			closed(t, s)
		}
	})
	return all
}

func TestInstancesThatStartTogetherMigrateOnce(t *testing.T) {
	for i, s := range instances(t, postgres.Database(t), 8) {
		if err := s.Stamp(t.Context(), map[string]string{"cluster": "one", "topic": "t1"}); err != nil {
			t.Error(err)
		}
		update(t, s, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, i, "mine") })
		if n := number(t, s, countNotes); n != i+1 {
			t.Errorf("instance %d sees %d notes", i, n)
		}
	}
}

func TestInstancesStampOneCluster(t *testing.T) {
	all := instances(t, postgres.Database(t), 4)
	var group sync.WaitGroup
	var bound atomic.Int64
	for i, s := range all {
		group.Go(func() {
			id := fmt.Sprint(i % 2)
			switch err := s.Stamp(t.Context(), map[string]string{"cluster": id, "topic": id}); {
			case err == nil:
				bound.Add(1)
			case !errors.Is(err, storage.ErrForeign):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := bound.Load(); n != 2 {
		t.Errorf("%d of 4 instances are bound, of two that belong to each of two clusters", n)
	}
}

// Three owners of one partition, each of which believes it is alone: every
// offset is passed once, with what belongs to it.
func TestOwnersFenceEachOther(t *testing.T) {
	const steps = 200
	all := instances(t, postgres.Database(t), 3)
	if err := all[0].StartAt(t.Context(), orders(), 0); err != nil {
		t.Fatal(err)
	}
	var group, met sync.WaitGroup // all want the first step before one of them takes it
	met.Add(len(all))
	var fenced atomic.Int64
	for _, s := range all {
		group.Go(func() {
			for first := true; ; first = false {
				next, _, err := s.Position(t.Context(), orders())
				if first {
					met.Done()
					met.Wait()
				}
				if err != nil {
					t.Error(err)
					return
				}
				if next >= steps {
					return
				}
				err = s.Update(t.Context(), func(tx *storage.Tx) error {
					if err := tx.Advance(t.Context(), orders(), next, next+1, time.Time{}); err != nil {
						return err
					}
					return note(t.Context(), tx, int(next), "once")
				})
				if errors.Is(err, storage.ErrFenced) {
					fenced.Add(1)
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := number(t, all[0], countNotes); n != steps {
		t.Errorf("%d of %d steps have left a note", n, steps)
	}
	if n := fenced.Load(); n < 2 {
		t.Errorf("%d were fenced; two must have been at the first step", n)
	}
}

// What is read to build on is kept to the transaction.
func TestLockedKeysKeepOthersWaiting(t *testing.T) {
	const rounds = 25
	all := instances(t, postgres.Database(t), 4)
	var group sync.WaitGroup
	for _, s := range all {
		group.Go(func() {
			for range rounds {
				if err := s.Update(t.Context(), func(tx *storage.Tx) error { return addByHand(t.Context(), tx) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if n := number(t, all[0], readLeft); n != rounds*len(all) {
		t.Errorf("%d of %d additions are left", n, rounds*len(all))
	}
}

// Transactions that wait for each other are distinguished by the server, and done
// one after the other.
func TestDeadlocksResolve(t *testing.T) {
	all := instances(t, postgres.Database(t), 2)
	for _, s := range all { // the connection is there before the rows are locked
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var first sync.WaitGroup // both have their first row before they want the other's
	first.Add(2)
	var group sync.WaitGroup
	var tries atomic.Int64
	for i, order := range [][2]string{{addLeft, addRight}, {addRight, addLeft}} {
		group.Go(func() {
			var met sync.Once
			if err := all[i].Update(t.Context(), func(tx *storage.Tx) error {
				tries.Add(1)
				if _, err := tx.Exec(t.Context(), order[0], 1); err != nil {
					return err
				}
				met.Do(func() { first.Done(); first.Wait() })
				_, err := tx.Exec(t.Context(), order[1], 1)
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := number(t, all[0], readLeft); n != 2 {
		t.Errorf("left is %d, want 2", n)
	}
	if n := tries.Load(); n != 3 {
		t.Errorf("%d tries of two transactions, want one of them again", n)
	}
}

func TestTheServicesTextsAreStorable(t *testing.T) {
	s := open(t, postgres.Database)
	const odd = "a\x00b\xffc"
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return note(ctx, tx, 1, odd) })
	var body string
	if err := s.QueryRow(t.Context(), `SELECT body FROM notes WHERE id = $1`, 1).Scan(&body); err != nil {
		t.Fatal(err)
	}
	if body != "a\uFFFDb\uFFFDc" {
		t.Errorf("%q is kept as %q", odd, body)
	}
	found := map[int]int{}
	if err := s.SelectKeys(t.Context(), selectBodies, []string{odd, "\x00", body}, collect(found)); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Errorf("keys that no text can have, and one that is there, find %v", found)
	}
}

func TestAStorageIsLockedAgainstItsService(t *testing.T) {
	url := postgres.Database(t)
	s := reopen(t, url)
	fill(t, s)
	if _, err := storage.Lock(t.Context(), url, "porter", "clerk"); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("locked while the service runs: %v", err)
	}
	if _, err := storage.Open(t.Context(), url, "clerk", notes(), storage.Alone()); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("opened alone while the service runs: %v", err)
	}
	closed(t, s)
	locked := lock(t, url)
	if _, err := storage.Lock(t.Context(), url, "clerk"); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("locked twice: %v", err)
	}
	if err := locked.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	started := make(chan *storage.Store)
	go func() {
		s, err := storage.Open(t.Context(), url, "clerk", notes())
		if err != nil {
			t.Error(err)
		}
		started <- s
	}()
	waits(t, url)
	select {
	case <-started:
		t.Fatal("the service started while its storage was locked")
	default:
	}
	if err := locked.Unlock(); err != nil {
		t.Fatal(err)
	}
	s = <-started
	defer closed(t, s)
	if _, known := position(t, s, orders()); known {
		t.Error("what was cleared is still there")
	}
}

// waits returns when somebody waits for a lock of the database.
func waits(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for n := 0; n == 0; {
		if err := conn.QueryRow(ctx, `SELECT COUNT(*) FROM pg_locks WHERE NOT granted`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

// An instance that stands still in the middle of a transaction does not keep
// others from going on, and finds its own undone.
func TestAnInstanceThatStandsStillLosesItsRows(t *testing.T) {
	all := instances(t, postgres.Database(t), 2)
	locked, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- all[0].Update(t.Context(), func(tx *storage.Tx) error {
			if err := addByHand(t.Context(), tx); err != nil {
				return err
			}
			close(locked)
			<-goOn
			return nil
		})
	}()
	<-locked
	if err := all[1].Update(t.Context(), func(tx *storage.Tx) error { return addByHand(t.Context(), tx) }); err != nil {
		t.Errorf("beside an instance that stands still: %v", err)
	}
	close(goOn)
	if err := <-ended; err == nil {
		t.Error("the one that stood still has stored something")
	}
	if n := number(t, all[0], readLeft); n != 1 {
		t.Errorf("%d additions are stored, want the one that went on", n)
	}
}

// lock waits for the server to have seen the service's connections end.
func lock(t *testing.T, url string) *storage.Locked {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		l, err := storage.Lock(ctx, url, "clerk")
		if err == nil {
			return l
		}
		if !errors.Is(err, storage.ErrInUse) {
			t.Fatal(err)
		}
	}
}

func TestAWrongPasswordIsNotShown(t *testing.T) {
	url := strings.Replace(postgres.Database(t), "hemlig", password, 1)
	for what, open := range map[string]func() error{
		"open": func() error { _, err := storage.Open(t.Context(), url, "clerk", notes()); return err },
		"read": func() error { _, err := storage.OpenReadOnly(t.Context(), url, "clerk"); return err },
		"lock": func() error { _, err := storage.Lock(t.Context(), url, "clerk"); return err },
	} {
		err := open()
		if !errors.Is(err, storage.ErrUnreachable) || !strings.Contains(err.Error(), "password authentication failed") {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%s shows the password: %v", what, err)
		}
	}
}

// A server that is away, or stands still, delays nobody for long, and what
// comes after it is as if it had not been.
func TestAServerThatIsAway(t *testing.T) {
	server := testpostgres.Start(t)
	s := reopen(t, server.Database(t))
	defer closed(t, s)
	addOne := func() error {
		return s.Update(t.Context(), func(tx *storage.Tx) error { return addByHand(t.Context(), tx) })
	}
	soon := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 500*time.Millisecond)
	}
	if err := addOne(); err != nil {
		t.Fatal(err)
	}
	for what, way := range map[string]struct {
		leave  func() error
		comeIn func() error
	}{
		"killed": {func() error { server.Kill(); return nil }, func() error { return server.Restart(t.Context()) }},
		"frozen": {server.Freeze, server.Thaw},
	} {
		before := number(t, s, readLeft)
		if err := way.leave(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := soon()
		if err := s.Check(ctx); err == nil {
			t.Errorf("%s: a server that is away answered", what)
		} else if text := err.Error(); strings.Contains(text, testpostgres.Password) || strings.Contains(text, "user=") {
			t.Errorf("%s: too much is revealed: %v", what, err)
		}
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), patience)
		if err := s.Update(ctx, func(tx *storage.Tx) error { return addByHand(ctx, tx) }); err == nil {
			t.Errorf("%s: a server that is away stored something", what)
		}
		if ctx.Err() != nil {
			t.Errorf("%s: a transaction waited for as long as its caller let it", what)
		}
		cancel()
		if err := way.comeIn(); err != nil {
			t.Fatal(err)
		}
		if err := addOne(); err != nil {
			t.Errorf("%s: afterwards: %v", what, err)
		}
		if n := number(t, s, readLeft); n != before+1 {
			t.Errorf("%s: %d is stored after %d and one more", what, n, before)
		}
	}
}

// addByHand adds one as those do who have to read first.
func addByHand(ctx context.Context, tx *storage.Tx) error {
	var left int
	if err := tx.LockKeys(ctx, `SELECT value FROM pair WHERE side IN $rows`, []string{"left"}, scanInto(&left)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, writeLeft, left+1)
	return err
}

// What one owner stored and did not publish, the next finds, whichever instance
// it is; what that one has published the first does not find again.
func TestTheNextOwnerFindsTheOutbox(t *testing.T) {
	all := instances(t, postgres.Database(t), 2)
	fill(t, all[0])
	pending, found, err := all[1].Outbox(t.Context(), orders())
	if err != nil || !found {
		t.Fatalf("the next owner finds nothing: %v", err)
	}
	if diff := cmp.Diff(filled().Outbox[0], pending); diff != "" {
		t.Errorf("the next owner finds (-want +got):\n%s", diff)
	}
	published(t, all[1], orders(), pending.LastOffset)
	if _, found, err := all[0].Outbox(t.Context(), orders()); found || err != nil {
		t.Errorf("what was published is found again: %v, %v", found, err)
	}
}
