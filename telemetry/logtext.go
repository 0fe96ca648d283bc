package telemetry

import (
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"
)

// serviceColumn is the width of the column that holds the service's name; longer names push the line right.
const serviceColumn = 10

// newTextHandler returns a handler whose lines start with the service's name.
func newTextHandler(w io.Writer, service string, level slog.Level, colour bool) slog.Handler {
	prefix := fmt.Sprintf("%-*s ", serviceColumn, service)
	if colour {
		prefix = fmt.Sprintf("\x1b[%dm%-*s\x1b[0m ", serviceColour(service), serviceColumn, service)
	}
	return tint.NewTextHandler(&prefixWriter{w: w, prefix: prefix}, &tint.Options{
		Level:       level,
		TimeFormat:  time.TimeOnly + ".000",
		NoColor:     !colour,
		ReplaceAttr: withoutControls,
	})
}

// serviceColour gives a name the same ANSI colour in every run. Red and yellow are left to errors and warnings.
func serviceColour(service string) int {
	colours := [...]int{36, 32, 35, 34, 96, 92, 95, 94}
	hash := fnv.New32a()
	hash.Write([]byte(service))
	return colours[hash.Sum32()%uint32(len(colours))]
}

// prefixWriter puts a prefix before each write, in one write to the writer below.
type prefixWriter struct {
	w      io.Writer
	prefix string
}

func (p *prefixWriter) Write(line []byte) (int, error) {
	n, err := p.w.Write(append([]byte(p.prefix), line...))
	return max(0, n-len(p.prefix)), err
}
