package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/telemetry"
)

func TestTheLogIsColouredOnATerminalAlone(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal to write to: ", err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	for _, test := range []struct {
		name, asked, noColor string
		w                    io.Writer
		want                 string
	}{
		{"auto", "auto", "", terminal, telemetry.LogColored},
		{"text", "text", "", terminal, telemetry.LogColored},
		{"shared by several services", "auto", "", telemetry.NewLineWriter(terminal), telemetry.LogColored},
		{"JSON", "json", "", terminal, telemetry.LogJSON},
		{"NO_COLOR", "auto", "1", terminal, telemetry.LogText},
		{"no terminal", "auto", "", &bytes.Buffer{}, telemetry.LogText},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", test.noColor)
			var got string
			command := &cli.Command{
				Flags: logFlags(), Writer: io.Discard, ErrWriter: test.w,
				Action: func(_ context.Context, c *cli.Command) error { got = logFormat(c); return nil },
			}
			if err := command.Run(t.Context(), []string{"vigie", "--log-format", test.asked}); err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("telemetry is asked for %q, want %q", got, test.want)
			}
		})
	}
}
