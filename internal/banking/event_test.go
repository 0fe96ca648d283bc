package banking

import (
	"regexp"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/golden"
)

func TestNewEventID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := NewEventID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%s is no version 4 UUID, or was given before", id)
		}
		seen[id] = true
	}
}

func TestResultEventID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	a, b := ResultEventID("a"), ResultEventID("b")
	if a != ResultEventID("a") || a == b || !form.MatchString(a) {
		t.Errorf("got %s and %s", a, b)
	}
}

// TestResultEventIDStays fails when the namespace changes: results that are decided
// again after an upgrade would then get a new id.
func TestResultEventIDStays(t *testing.T) {
	t.Parallel()
	golden.Compare(t, "result_event_id.txt", ResultEventID("0b5f4a3e-7d0c-4f43-9a53-0d2f6b1f8c11")+"\n")
}
