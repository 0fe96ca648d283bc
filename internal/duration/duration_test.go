package duration_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/duration"
)

const day = 24 * time.Hour

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "20ms": 20 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "1h30m": 90 * time.Minute,
		"90d": 90 * day, "2w": 14 * day, "1d12h": 36 * time.Hour, "1y": 365 * day, "720h": 30 * day,
	} {
		if got, err := duration.Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "90 d", "ten", "-5m", "-1d", "1.5d", "12h1d", "1000000y", "9999999999h"} {
		if got, err := duration.Parse(text); !errors.Is(err, duration.ErrText) {
			t.Errorf("Parse(%q) = %v, %v; want ErrText", text, got, err)
		}
	}
}

func TestTextIsBrief(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"30d": 720 * time.Hour, "35d": 5 * 7 * day, "1d12h": 36 * time.Hour, "9s": 9 * time.Second, "20ms": 20 * time.Millisecond, "1h30m": 90 * time.Minute,
		"250µs": 250 * time.Microsecond, "0s": 0,
	} {
		if got := duration.Text(d); got != want {
			t.Errorf("Text(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestFlag(t *testing.T) {
	t.Setenv("KEPT", "2w")
	for _, tt := range []struct {
		args []string
		want time.Duration
	}{{nil, 14 * day}, {[]string{"--kept", "90d"}, 90 * day}} {
		var got time.Duration
		c := &cli.Command{
			Flags:  []cli.Flag{&duration.Flag{Name: "kept", Sources: cli.EnvVars("KEPT"), Value: time.Hour}},
			Action: func(_ context.Context, c *cli.Command) error { got = c.Duration("kept"); return nil },
		}
		if err := c.Run(t.Context(), append([]string{"program"}, tt.args...)); err != nil || got != tt.want {
			t.Errorf("%v: %v, %v; want %v", tt.args, got, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("90d")
	f.Add("1.5s")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := duration.Parse(text)
		if err != nil {
			return
		}
		if back, err := duration.Parse(duration.Text(d)); err != nil || back != d {
			t.Errorf("%q is %v, written as %q, read as %v (%v)", text, d, duration.Text(d), back, err)
		}
	})
}
