package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

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
		name, set, noColor string
		w                  io.Writer
		want               string
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
			if err := command.Run(t.Context(), []string{"vigie", "--log-format", test.set}); err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("telemetry is set to %q, want %q", got, test.want)
			}
		})
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", 133 * time.Second: "2m13s", time.Hour: "1h0m",
		47*time.Hour + 59*time.Minute: "47h59m", 48 * time.Hour: "2d0h", 30*24*time.Hour + 5*time.Hour: "30d5h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestTheBarIsForTerminals(t *testing.T) {
	var out bytes.Buffer
	silent := newBar(&out, "reading")
	silent.progress(1, 2)
	silent.finish()
	if out.Len() != 0 {
		t.Errorf("a bar was drawn into %q", &out)
	}
	drawn := &bar{w: &out, what: "reading"}
	for i := range int64(3) {
		drawn.progress(i+1, 3)
	}
	drawn.finish()
	if !strings.Contains(out.String(), "reading") || !strings.HasSuffix(out.String(), "\r") {
		t.Errorf("the bar was drawn as %q", &out)
	}
}
