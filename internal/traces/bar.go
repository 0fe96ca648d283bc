package traces

import (
	"fmt"
	"strings"
	"time"
)

// eighths is how finely a bar is drawn, in parts of a column.
const eighths = 8

// bar draws when something was: columns stand for the whole time, and what
// took from after to after+length of it is filled, an eighth of a column at
// least.
func bar(after, length, whole time.Duration, columns int) string {
	scale := func(d time.Duration) int {
		if whole <= 0 {
			return 0
		}
		return int(float64(d) / float64(whole) * float64(columns*eighths))
	}
	from := min(scale(after), columns*eighths-1)
	to := min(max(scale(after+length), from+1), columns*eighths)
	var b strings.Builder
	for left := 0; left < columns*eighths; left += eighths {
		b.WriteString(cell(max(from-left, 0), min(to-left, eighths)))
	}
	return b.String()
}

// cell is a column that is filled between two of its eighths. There are
// characters for all widths from the left, and for two from the right.
func cell(from, to int) string {
	switch {
	case from >= eighths || to <= 0:
		return " "
	case from == 0:
		return string([]rune("▏▎▍▌▋▊▉█")[to-1])
	case to < eighths && from < eighths/2:
		return string([]rune("▏▎▍▌▋▊▉█")[to-from-1])
	case from <= 1:
		return "█"
	case from <= 5:
		return "▐"
	default:
		return "▕"
	}
}

// period writes a duration with three digits, such as 48.2 ms.
func period(d time.Duration) string {
	const day = 24 * time.Hour
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d <= 0:
		return "0 ms"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", ms)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", ms)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 1000*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}
