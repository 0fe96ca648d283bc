package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
)

// A crash while a database is cleared leaves it whole or empty, and never as it
// was some time before.
func TestAClearingThatWasCutShortIsCompleted(t *testing.T) {
	p := record.Partition{Topic: "t", ID: 0}
	steps := len(clearSteps(""))
	for done := range steps + 1 {
		folder := t.TempDir()
		url := "sqlite:" + filepath.Join(folder, "data")
		s, err := Open(t.Context(), url, "clerk", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.StartAt(t.Context(), p, 5), s.Close()); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(t.Context(), url, "clerk", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(t.Context(), func(tx *Tx) error { return tx.Advance(t.Context(), p, 5, 9, time.Time{}) }); err != nil {
			t.Fatal(err)
		}
		// What a killed process leaves: the last change stands in the write-ahead log
		// alone.
		killed := filepath.Join(folder, "killed")
		if err := os.CopyFS(killed, os.DirFS(filepath.Join(folder, "data"))); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		database := filepath.Join(killed, "clerk", "clerk.db")
		for _, step := range clearSteps(database)[:done] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if begun := done > 0; begun {
			if _, err := OpenReadOnly(t.Context(), "sqlite:"+killed, "clerk"); !errors.Is(err, ErrMissing) {
				t.Errorf("after %d steps, who looks on finds %v, want ErrMissing", done, err)
			}
		}
		if s, err = Open(t.Context(), "sqlite:"+killed, "clerk", nil); err != nil {
			t.Fatalf("after %d steps: %v", done, err)
		}
		next, known, err := s.Position(t.Context(), p)
		if err != nil || known != (done == 0) || known && next != 9 {
			t.Errorf("after %d steps of %d: position %d, %v, %v", done, steps, next, known, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if beingCleared(database) {
			t.Errorf("after %d steps the note is left", done)
		}
	}
}

// Clear leaves nothing behind, and is repeated without harm.
func TestClearTwice(t *testing.T) {
	folder := t.TempDir()
	s, err := Open(t.Context(), "sqlite:"+folder, "clerk", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		locked, err := Lock(t.Context(), "sqlite:"+folder, "clerk")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(locked.Clear(context.WithoutCancel(t.Context())), locked.Unlock()); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(folder, "clerk"))
	if err != nil || len(left) != 1 || left[0].Name() != "lock" {
		t.Errorf("left: %v, %v", left, err)
	}
}
