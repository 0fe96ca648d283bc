package service

import (
	"context"
	"testing"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// What other instances have to read counts as missed until it is stored.
func TestProgressGoesByStorage(t *testing.T) {
	store, err := storage.Open(t.Context(), "sqlite:"+t.TempDir(), "clerk", nil)
	if err != nil {
		t.Fatal(err)
	}
	span := func(id int32, start, end int64) kafka.Span {
		return kafka.Span{Partition: record.Partition{Topic: "t", ID: id}, Start: start, End: end}
	}
	// Of partition 1, offset 7 is a marker's.
	holds := func(_ context.Context, s kafka.Span) (bool, error) { return s.Start < 7, nil }
	p := &Progress{store: store, missed: []kafka.Span{span(0, 0, 0), span(1, 5, 8), span(2, 7, 7)}, holds: holds}
	for _, step := range []struct {
		what string
		next int64
		want bool
	}{{"nobody has read it", -1, false}, {"begun", 5, false}, {"all but one", 6, false}, {"all", 7, true}} {
		if step.next >= 0 {
			err := store.Update(t.Context(), func(tx *storage.Tx) error {
				_, err := tx.Exec(t.Context(), `INSERT INTO positions (topic, partition, next_offset) VALUES ('t', 1, $1)
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset`, step.next)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := p.read(t.Context()); got != step.want {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if !p.read(t.Context()) {
		t.Error("what has been read is asked for again")
	}
	if (&Progress{store: store, missed: p.missed, holds: holds}).read(t.Context()) {
		t.Error("without storage all is said to be read")
	}
}
