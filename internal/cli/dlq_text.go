package cli

import (
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/deadletters"
)

func tries(l deadletters.Letter) string {
	if l.Foreign() {
		return "-"
	}
	return strconv.Itoa(l.Attempts)
}

func origin(l deadletters.Letter) string {
	if l.Foreign() {
		return "-"
	}
	return l.Origin.String()
}

func stateOf(l deadletters.Letter, now time.Time) string {
	if !l.Resolved() {
		return "waits"
	}
	return l.Resolution.Kind + " " + age(now.Sub(l.Resolution.At)) + " ago"
}
