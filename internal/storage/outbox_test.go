package storage_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

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

func all(t *testing.T, s *storage.Store) []storage.Pending {
	t.Helper()
	pending, err := s.AllPending(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return pending
}

func size(t *testing.T, s *storage.Store) int64 {
	t.Helper()
	n, err := s.OutboxSize(t.Context())
	if err != nil {
		t.Fatal(err)
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
	s := open(t, empty)
	next, namesake := record.Partition{Topic: orders().Topic, ID: 2}, record.Partition{Topic: "payments.authorized", ID: orders().ID}
	b9, b10, b100 := batch(orders(), 9, 12), batch(orders(), 10, 1), batch(orders(), 100, 3)
	others := []storage.Pending{batch(next, 9, 1), batch(namesake, 9, 1)}
	enqueue(t, s, b100, b9, b10, others[0], others[1]) // neither sorted nor of one length
	everything := []storage.Pending{b9, b10, b100, others[0], others[1]}
	if diff := cmp.Diff(everything, all(t, s)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	for _, step := range []struct{ published, left int64 }{{8, 18}, {9, 6}, {99, 5}} {
		published(t, s, orders(), step.published)
		if n := size(t, s); n != step.left {
			t.Errorf("published to %d: %d messages wait, want %d", step.published, n, step.left)
		}
	}
	enqueue(t, s, b9, b10)
	if diff := cmp.Diff([]storage.Pending{b9, b10, b100}, drain(t, s, orders())); diff != "" {
		t.Errorf("batch for batch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(others, all(t, s)); diff != "" {
		t.Errorf("the other partitions (-want +got):\n%s", diff)
	}
}

func TestABatchWithoutMessagesLeavesNothing(t *testing.T) {
	onEach(t, testABatchWithoutMessagesLeavesNothing)
}

func testABatchWithoutMessagesLeavesNothing(t *testing.T, empty maker) {
	s := open(t, empty)
	enqueue(t, s, batch(orders(), 1, 0), batch(orders(), 1, 0))
	if _, found, err := s.Outbox(t.Context(), orders()); found || err != nil || len(all(t, s)) != 0 || size(t, s) != 0 {
		t.Errorf("outbox holds %v, %v, %v", all(t, s), found, err)
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
	if diff := cmp.Diff(want, all(t, s)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, drain(t, s, orders())); diff != "" {
		t.Errorf("batch for batch (-want +got):\n%s", diff)
	}
}

func TestABatchIsEnqueuedOnce(t *testing.T) { onEach(t, testABatchIsEnqueuedOnce) }

func testABatchIsEnqueuedOnce(t *testing.T, empty maker) {
	s := open(t, empty)
	enqueue(t, s, batch(orders(), 5, 1))
	err := s.Update(t.Context(), func(tx *storage.Tx) error {
		return tx.Enqueue(t.Context(), orders(), 5, batch(orders(), 5, 2).Messages)
	})
	if err == nil {
		t.Error("the same batch was enqueued twice")
	}
	if n := size(t, s); n != 1 {
		t.Errorf("%d messages wait, want the first batch's one", n)
	}
}
