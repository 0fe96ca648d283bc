package storage_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/services/internal/storage"
)

func outbox(t *testing.T, s *storage.Store, p storage.Partition, limit int) []storage.Pending {
	t.Helper()
	pending, err := s.Outbox(t.Context(), p, limit)
	if err != nil {
		t.Fatal(err)
	}
	return pending
}

// names writes a message as offset:value.
func names(pending []storage.Pending) (out []string) {
	for _, p := range pending {
		out = append(out, fmt.Sprintf("%d:%s", p.SourceOffset, p.Value))
	}
	return out
}

func TestOutboxKeepsOrderAndForgetsWhatWasPublished(t *testing.T) {
	s := open(t)
	other := storage.Partition{Topic: orders().Topic, ID: 2}
	update(t, s, func(ctx context.Context, tx *storage.Tx) error {
		for _, offset := range []int64{100, 9, 10} { // neither sorted nor of one length
			var messages []storage.Message
			for part := range 12 {
				messages = append(messages, storage.Message{Topic: "out", Value: fmt.Append(nil, part)})
			}
			if err := tx.Enqueue(ctx, orders(), offset, messages); err != nil {
				return err
			}
		}
		return tx.Enqueue(ctx, other, 9, []storage.Message{{Topic: "out", Value: []byte("other")}})
	})
	var want []string
	for _, offset := range []int64{9, 10, 100} {
		for part := range 12 {
			want = append(want, fmt.Sprintf("%d:%d", offset, part))
		}
	}
	if got := names(outbox(t, s, orders(), 1000)); !slices.Equal(got, want) {
		t.Errorf("outbox %v, want %v", got, want)
	}
	if got := names(outbox(t, s, orders(), 13)); !slices.Equal(got, want[:13]) {
		t.Errorf("outbox up to 13: %v, want %v", got, want[:13])
	}
	for _, step := range []struct{ published, left int64 }{{8, 36}, {9, 24}, {99, 12}, {100, 0}} {
		if err := s.MarkPublished(t.Context(), orders(), step.published); err != nil {
			t.Fatal(err)
		}
		if got := names(outbox(t, s, orders(), 1000)); !slices.Equal(got, want[36-step.left:]) {
			t.Errorf("published to %d: outbox %v, want %v", step.published, got, want[36-step.left:])
		}
		if n, err := s.OutboxSize(t.Context()); n != step.left+1 || err != nil {
			t.Errorf("published to %d: size %d, %v; want %d", step.published, n, err, step.left+1)
		}
	}
	if got := names(outbox(t, s, other, 10)); !slices.Equal(got, []string{"9:other"}) {
		t.Errorf("the other partition's outbox is %v", got)
	}
}

func TestMessagesComeOutAsTheyWentIn(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	messages := []storage.Message{
		{Topic: "null key and value", Headers: nil},
		{Topic: "empty key and value", Key: []byte{}, Value: []byte{}, Headers: []storage.Header{}},
		{Topic: "null key", Value: []byte("v")},
		{Topic: "null value", Key: []byte("k")},
		{Topic: "binary", Key: every, Value: every, Headers: []storage.Header{
			{Key: "all bytes", Value: every}, {Key: "null", Value: nil}, {Key: "empty", Value: []byte{}},
			{Key: "", Value: []byte("nameless")}, {Key: "twice", Value: []byte{1}}, {Key: "twice", Value: []byte{0}},
			{Key: "clé <&>\x00\"", Value: []byte("é")},
		}},
	}
	folder := t.TempDir()
	s := reopen(t, folder)
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, orders(), 0, messages) })
	closed(t, s)
	s = reopen(t, folder)
	defer closed(t, s)
	var got []storage.Message
	for _, p := range outbox(t, s, orders(), 10) {
		got = append(got, p.Message)
	}
	if diff := cmp.Diff(messages, got); diff != "" {
		t.Errorf("after storing (-want +got):\n%s", diff)
	}
}

func TestARecordIsEnqueuedOnce(t *testing.T) {
	s := open(t)
	messages := []storage.Message{{Topic: "out", Value: []byte("1")}}
	update(t, s, func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, orders(), 5, messages) })
	err := s.Update(t.Context(), func(tx *storage.Tx) error { return tx.Enqueue(t.Context(), orders(), 5, messages) })
	if err == nil {
		t.Error("the same record's messages were enqueued twice")
	}
	if got := outbox(t, s, orders(), 10); len(got) != 1 {
		t.Errorf("outbox %v, want one message", names(got))
	}
}
