package cli

import (
	"io"
	"os"

	"github.com/mattn/go-isatty"
	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/telemetry"
)

// logFormatAuto is the same as text: lines for people, coloured on a terminal.
const logFormatAuto = "auto"

// logFormat returns the log's format for telemetry, which does not know what it writes to. Who sets NO_COLOR wants no
// colours anywhere; see https://no-color.org.
func logFormat(c *cli.Command) string {
	switch {
	case c.String(flagLogFormat) == telemetry.LogJSON:
		return telemetry.LogJSON
	case os.Getenv("NO_COLOR") == "" && isTerminal(c.Root().ErrWriter):
		return telemetry.LogColored
	default:
		return telemetry.LogText
	}
}

// isTerminal says whether somebody reads w on a terminal.
func isTerminal(w io.Writer) bool {
	if lines, ok := w.(*telemetry.LineWriter); ok {
		w = lines.Unwrap()
	}
	file, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}
