package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vigie-dev/vigie/internal/deadletters"
)

// maxCell bounds a text in a table, in runes.
const maxCell = 40

// cell makes a text fit to stand in a table; "-" stands for none.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return shortened(printable(text), maxCell)
}

func shortened(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}

// printable writes what a terminal could obey, or not show, as an escape. A
// dead letter holds whatever somebody sent.
func printable(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// age writes a duration with two units at most, such as 2m13s or 3d4h.
func age(d time.Duration) string {
	d = max(0, d).Truncate(time.Second)
	const day = 24 * time.Hour
	switch {
	case d < time.Hour:
		return d.String()
	case d < 2*day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

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
