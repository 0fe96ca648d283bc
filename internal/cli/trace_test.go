package cli

import (
	"strings"
	"testing"
)

func TestSpansOfARecentOrderMayBeOnTheirWay(t *testing.T) {
	recent, old := strings.Join(missingSpans(onItsWay-1), "\n"), strings.Join(missingSpans(onItsWay), "\n")
	if !strings.Contains(recent, "on their way") || strings.Contains(old, "on their way") {
		t.Errorf("of a recent order:\n%s\nof an old one:\n%s", recent, old)
	}
}
