package banking_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
)

func TestAProbeIsKnownByItsID(t *testing.T) {
	for id, want := range map[string]bool{"probe-0-X": true, "probe-": true, "order-1": false, "": false, "Probe-1-X": false, "my-probe-1": false} {
		if got := banking.IsProbe(id); got != want {
			t.Errorf("IsProbe(%q) is %v", id, got)
		}
	}
}

func TestAProbeNamesTheHighestOrder(t *testing.T) {
	first, second := banking.NewProbeID(41), banking.NewProbeID(41)
	if first == second {
		t.Errorf("%s was given twice", first)
	}
	if n, ok := banking.NamedByProbe(first); n != 41 || !ok || !banking.IsProbe(first) {
		t.Errorf("%s names %d, %v", first, n, ok)
	}
	for _, id := range []string{banking.NewProbeID(-1), "order-41", "probe-", "probe-41", "probe--X", "probe--1-X", "probe-x-41", "probe-9999999999999999999-X"} {
		if n, ok := banking.NamedByProbe(id); ok {
			t.Errorf("%q names %d", id, n)
		}
	}
}
