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

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

func TestPositionsBelongToTheirPartition(t *testing.T) {
	onEach(t, testPositionsBelongToTheirPartition)
}

func testPositionsBelongToTheirPartition(t *testing.T, empty maker) {
	s := open(t, empty)
	other := record.Partition{Topic: orders().Topic, ID: orders().ID + 1}
	namesake := record.Partition{Topic: "payments.authorized", ID: orders().ID}
	if _, known := position(t, s, orders()); known {
		t.Error("a partition that nobody read has a position")
	}
	if err := errors.Join(s.StartAt(t.Context(), orders(), 3), s.StartAt(t.Context(), other, 30)); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.Advance(ctx, orders(), 3, 9, time.Time{}) })
	for p, want := range map[record.Partition]int64{orders(): 9, other: 30} {
		if next, known := position(t, s, p); next != want || !known {
			t.Errorf("%s stands at %d, %v; want %d", p, next, known, want)
		}
	}
	if _, known := position(t, s, namesake); known {
		t.Errorf("%s has a position without having been read", namesake)
	}
}

func TestStartAtDoesNotOverwrite(t *testing.T) { onEach(t, testStartAtDoesNotOverwrite) }

func testStartAtDoesNotOverwrite(t *testing.T, empty maker) {
	s := open(t, empty)
	for _, start := range []int64{0, 5, 0} {
		if err := s.StartAt(t.Context(), orders(), start); err != nil {
			t.Fatal(err)
		}
		if next, known := position(t, s, orders()); next != 0 || !known {
			t.Errorf("after StartAt(%d) at %d, %v; want 0", start, next, known)
		}
	}
}

func TestAdvanceComparesAndSets(t *testing.T) { onEach(t, testAdvanceComparesAndSets) }

func testAdvanceComparesAndSets(t *testing.T, empty maker) {
	tests := []struct {
		name     string
		p        record.Partition
		from, to int64
		want     error
		next     int64
	}{
		{"from where it stands", orders(), 10, 15, nil, 15},
		{"nothing to skip", orders(), 10, 10, nil, 10},
		{"others went on", orders(), 9, 12, storage.ErrFenced, 10},
		{"others went back", orders(), 11, 12, storage.ErrFenced, 10},
		{"never started", record.Partition{Topic: "unread", ID: 0}, 0, 1, storage.ErrFenced, 10},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, empty)
			if err := s.StartAt(t.Context(), orders(), 10); err != nil {
				t.Fatal(err)
			}
			err := s.Update(t.Context(), func(tx *storage.Tx) error { return tx.Advance(t.Context(), test.p, test.from, test.to, time.Time{}) })
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if next, _ := position(t, s, orders()); next != test.next {
				t.Errorf("stands at %d, want %d", next, test.next)
			}
		})
	}
}

func TestOneOfSeveralOwnersAdvances(t *testing.T) { onEach(t, testOneOfSeveralOwnersAdvances) }

func testOneOfSeveralOwnersAdvances(t *testing.T, empty maker) {
	s := open(t, empty)
	if err := s.StartAt(t.Context(), orders(), 0); err != nil {
		t.Fatal(err)
	}
	var won, fenced atomic.Int32
	var owners sync.WaitGroup
	for owner := range 8 {
		owners.Go(func() {
			err := s.Update(t.Context(), func(tx *storage.Tx) error {
				if err := note(t.Context(), tx, owner, "mine"); err != nil {
					return err
				}
				return tx.Advance(t.Context(), orders(), 0, int64(owner)+1, time.Time{})
			})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, storage.ErrFenced):
				fenced.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	owners.Wait()
	if won.Load() != 1 || fenced.Load() != 7 {
		t.Errorf("%d advanced and %d were fenced, want 1 and 7", won.Load(), fenced.Load())
	}
	if n := number(t, s, countNotes); n != 1 {
		t.Errorf("%d notes are stored, want the winner's alone", n)
	}
}

// drain reads a partition's outbox as its owner does: batch for batch.
func drain(t *testing.T, s *storage.Store, p record.Partition) (batches []storage.Pending) {
	t.Helper()
	for {
		pending, found, err := s.Outbox(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			return batches
		}
		batches = append(batches, pending)
		published(t, s, p, pending.LastOffset)
	}
}

func published(t *testing.T, s *storage.Store, p record.Partition, last int64) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.MarkPublished(ctx, p, last) })
}

// all returns everything in the outbox of a storage.
func all(t *testing.T, url string) []storage.Pending {
	t.Helper()
	r, err := storage.OpenReadOnly(t.Context(), url, "clerk")
	if err != nil {
		t.Fatal(err)
	}
	pending := look(t, r).Outbox
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return pending
}

// size returns how many messages wait in the outbox of a storage.
func size(t *testing.T, url string) (n int) {
	t.Helper()
	for _, pending := range all(t, url) {
		n += len(pending.Messages)
	}
	return n
}

// batch is n messages that the records up to an offset caused.
func batch(p record.Partition, last int64, n int) storage.Pending {
	pending := storage.Pending{Source: p, LastOffset: last}
	for part := range n {
		pending.Messages = append(pending.Messages, record.Message{Topic: "out", Value: fmt.Appendf(nil, "%s-%d-%d", p, last, part)})
	}
	return pending
}

func enqueue(t *testing.T, s *storage.Store, batches ...storage.Pending) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		for _, b := range batches {
			if err := tx.Enqueue(ctx, b.Source, b.LastOffset, b.Messages); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestOutboxKeepsOrderAndForgetsWhatWasPublished(t *testing.T) {
	onEach(t, testOutboxKeepsOrderAndForgetsWhatWasPublished)
}

func testOutboxKeepsOrderAndForgetsWhatWasPublished(t *testing.T, empty maker) {
	url := empty(t)
	s := openIn(t, url)
	next, namesake := record.Partition{Topic: orders().Topic, ID: 2}, record.Partition{Topic: "payments.authorized", ID: orders().ID}
	b9, b10, b100 := batch(orders(), 9, 12), batch(orders(), 10, 1), batch(orders(), 100, 3)
	others := []storage.Pending{batch(next, 9, 1), batch(namesake, 9, 1)}
	enqueue(t, s, b100, b9, b10, others[0], others[1]) // neither sorted nor of one length
	everything := []storage.Pending{b9, b10, b100, others[0], others[1]}
	if diff := cmp.Diff(everything, all(t, url)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	for _, step := range []struct {
		published int64
		left      int
	}{{8, 18}, {9, 6}, {99, 5}} {
		published(t, s, orders(), step.published)
		if n := size(t, url); n != step.left {
			t.Errorf("published to %d: %d messages wait, want %d", step.published, n, step.left)
		}
	}
	enqueue(t, s, b9, b10)
	if diff := cmp.Diff([]storage.Pending{b9, b10, b100}, drain(t, s, orders())); diff != "" {
		t.Errorf("batch for batch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(others, all(t, url)); diff != "" {
		t.Errorf("the other partitions (-want +got):\n%s", diff)
	}
}

func TestABatchWithoutMessagesLeavesNothing(t *testing.T) {
	onEach(t, testABatchWithoutMessagesLeavesNothing)
}

func testABatchWithoutMessagesLeavesNothing(t *testing.T, empty maker) {
	url := empty(t)
	s := openIn(t, url)
	enqueue(t, s, batch(orders(), 1, 0), batch(orders(), 1, 0))
	if _, found, err := s.Outbox(t.Context(), orders()); found || err != nil || len(all(t, url)) != 0 || size(t, url) != 0 {
		t.Errorf("outbox holds %v, %v, %v", all(t, url), found, err)
	}
}

func TestMessagesComeOutAsTheyWentIn(t *testing.T) { onEach(t, testMessagesComeOutAsTheyWentIn) }

func testMessagesComeOutAsTheyWentIn(t *testing.T, empty maker) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	messages := []record.Message{
		{Topic: "null key and value", Headers: nil},
		{Topic: "empty key and value", Key: []byte{}, Value: []byte{}},
		{Topic: "null key", Value: []byte("v")},
		{Topic: "null value", Key: []byte("k")},
		{Topic: "binary", Key: every, Value: every, Headers: []record.Header{
			{Key: "all bytes", Value: every}, {Key: "null", Value: nil}, {Key: "empty", Value: []byte{}},
			{Key: "", Value: []byte("nameless")}, {Key: "twice", Value: []byte{1}}, {Key: "twice", Value: []byte{0}},
			{Key: "clé <&>\x00\"", Value: []byte("é")},
		}},
	}
	url := empty(t)
	s := reopen(t, url)
	enqueue(t, s, storage.Pending{Source: orders(), Messages: messages})
	closed(t, s)
	s = reopen(t, url)
	defer closed(t, s)
	want := []storage.Pending{{Source: orders(), Messages: messages}}
	if diff := cmp.Diff(want, all(t, url)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, drain(t, s, orders())); diff != "" {
		t.Errorf("batch for batch (-want +got):\n%s", diff)
	}
}

func TestABatchIsEnqueuedOnce(t *testing.T) { onEach(t, testABatchIsEnqueuedOnce) }

func testABatchIsEnqueuedOnce(t *testing.T, empty maker) {
	url := empty(t)
	s := openIn(t, url)
	enqueue(t, s, batch(orders(), 5, 1))
	err := s.Update(t.Context(), func(tx *storage.Tx) error {
		return tx.Enqueue(t.Context(), orders(), 5, batch(orders(), 5, 2).Messages)
	})
	if err == nil {
		t.Error("the same batch was enqueued twice")
	}
	if n := size(t, url); n != 1 {
		t.Errorf("%d messages wait, want the first batch's one", n)
	}
}

// A storage of the first version also kept each batch's size.
func TestTheOutboxOfTheFirstVersionIsKept(t *testing.T) {
	onEach(t, testTheOutboxOfTheFirstVersionIsKept)
}

func testTheOutboxOfTheFirstVersionIsKept(t *testing.T, empty maker) {
	url := empty(t)
	s := reopen(t, url)
	enqueue(t, s, batch(orders(), 5, 2))
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		_, column := tx.Exec(ctx, `ALTER TABLE outbox ADD COLUMN size BIGINT NOT NULL DEFAULT 2`)
		_, version := tx.Exec(ctx, `DELETE FROM delivery_version WHERE version_id >= 2`)
		_, newest := tx.Exec(ctx, `ALTER TABLE positions DROP COLUMN newest_us`)
		_, clock := tx.Exec(ctx, `DROP TABLE clock`)
		return errors.Join(column, version, newest, clock)
	})
	if want := []storage.Pending{batch(orders(), 5, 2)}; !cmp.Equal(want, all(t, url)) {
		t.Errorf("before the migration a reader finds %v, want %v", all(t, url), want)
	}
	closed(t, s)
	s = openIn(t, url)
	if err := s.QueryRow(t.Context(), `SELECT size FROM outbox`).Scan(new(int)); err == nil {
		t.Error("the size is still there")
	}
	enqueue(t, s, batch(orders(), 6, 1))
	want := []storage.Pending{batch(orders(), 5, 2), batch(orders(), 6, 1)}
	if diff := cmp.Diff(want, drain(t, s, orders())); diff != "" {
		t.Errorf("batch for batch (-want +got):\n%s", diff)
	}
}

func TestStampBindsStorageToItsCluster(t *testing.T) { onEach(t, testStampBindsStorageToItsCluster) }

func testStampBindsStorageToItsCluster(t *testing.T, empty maker) {
	url := empty(t)
	first := map[string]string{"cluster": "abc", "topic orders.created": "t1"}
	steps := []struct {
		name       string
		identities map[string]string
		names      []string // in the error; nil for none
	}{
		{"first time", first, nil},
		{"same", first, nil},
		{"part of it", map[string]string{"cluster": "abc"}, nil},
		{"none", nil, nil},
		{"new name", map[string]string{"cluster": "abc", "topic orders.dlq": "t2"}, nil},
		{"other cluster", map[string]string{"cluster": "xyz", "topic orders.created": "t1"}, []string{"cluster", "xyz", "abc"}},
		{"topic made again", map[string]string{"cluster": "abc", "topic orders.created": "t9"}, []string{"topic orders.created", "t9", "t1"}},
		{"the name added later", map[string]string{"topic orders.dlq": "t8"}, []string{"topic orders.dlq", "t8", "t2"}},
		{"refused with a new name", map[string]string{"a new": "n1", "cluster": "xyz"}, []string{"cluster"}},
		{"the new name was not kept", map[string]string{"a new": "n2"}, nil},
		{"still the first", first, nil},
	}
	for _, step := range steps { // one after the other, on one url
		s := reopen(t, url)
		err := s.Stamp(t.Context(), step.identities)
		closed(t, s)
		if (step.names != nil) != errors.Is(err, storage.ErrForeign) || (step.names == nil && err != nil) {
			t.Errorf("%s: %v", step.name, err)
		}
		for _, name := range step.names {
			if err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %q does not name %q", step.name, err, name)
			}
		}
	}
}
