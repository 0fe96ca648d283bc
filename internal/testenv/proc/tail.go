package proc

import (
	"os"
	"strings"
)

// Lines and bytes of a log that a failure shows.
const (
	tailLines = 40
	tailBytes = 8 << 10
)

// Tail is the end of a log file, or why it cannot be read.
func Tail(path string) string {
	text, err := os.ReadFile(path) //nolint:gosec // a test's own file
	if err != nil {
		return err.Error()
	}
	end := strings.TrimSpace(string(text[max(0, len(text)-tailBytes):]))
	lines := strings.Split(end, "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
