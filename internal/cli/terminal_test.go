package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/doctor"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/traces"
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
	silent.draw(1, 2)
	silent.finish()
	if out.Len() != 0 {
		t.Errorf("a bar was drawn into %q", &out)
	}
	quick := newBarAfter(&out, "reading", time.Hour)
	quick.draw(1, 2)
	quick.finish()
	if out.Len() != 0 {
		t.Errorf("of what took no time a bar was drawn: %q", &out)
	}
	drawn := newBarAfter(&out, "reading", time.Hour)
	drawn.draw(1, 3)
	drawn.shown = true // its time has come
	for i := range int64(3) {
		drawn.draw(i+1, 3)
	}
	drawn.finish()
	if !strings.Contains(out.String(), "reading") || !strings.HasSuffix(out.String(), "\r") {
		t.Errorf("the bar was drawn as %q", &out)
	}
	until := out.Len()
	if drawn.draw(3, 3); out.Len() != until {
		t.Errorf("after its end the bar was drawn as %q", out.String()[until:])
	}
}

// hostileText has what a terminal could obey or not show: controls of both
// sets, marks that turn the direction of a line, one beyond the basic plane, and
// bytes that are no text.
const hostileText = "\x00\x1b[31m\r\n\t\x7f\u0085\u009b2J\u200b\u200e\u202a\u202e\u2028\u2066\u2069\ufeff\U000e0001\xff é<&>\u65e5\U0001f642"

func TestWhatIsNotPrintableIsEscapedInJSON(t *testing.T) {
	document := map[string]any{"plain": hostileText, hostileText: []any{1.5, nil, json.RawMessage("{\"raw\": \"\u202e\u0085\\u001b\"}")}}
	var out bytes.Buffer
	if err := writeJSON(&out, document); err != nil {
		t.Fatal(err)
	}
	checkPrintable(t, out.String())
	if !strings.Contains(out.String(), "é<&>日🙂") {
		t.Errorf("what can be shown is not: %s", &out)
	}
	var back struct{ Plain string }
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Plain != strings.ToValidUTF8(hostileText, "\ufffd") {
		t.Errorf("reads back as %q, %v", back.Plain, err)
	}
}

// checkPrintable checks that each line of a text can be shown on a terminal.
func checkPrintable(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
			t.Errorf("not printable: %q", line)
		}
	}
}

func FuzzJSONIsPrintableAndReadsBack(f *testing.F) {
	f.Add(hostileText)
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		if err := writeJSON(&out, text); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || utf8.ValidString(text) && back != text {
			t.Errorf("%q reads back as %q, %v", text, back, err)
		}
		if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("not printable: %q", &out)
		}
	})
}

// Every way in which a letter is shown keeps to what a terminal can show.
func TestHostileLettersArePrintable(t *testing.T) {
	header := record.Header{Key: "k" + hostileText, Value: []byte(hostileText)}
	letter := deadletters.Letter{
		ID: record.At("orders.dlq", 0, 1), Key: hostileText, Reason: "malformed", Class: hostileText, Group: hostileText, Message: hostileText,
		Origin: record.At("orders.created", 0, 0),
	}
	for _, value := range []string{hostileText, `{"a":"` + "\u202e\u0085" + `"}`, `{"a":"` + "\xff" + `"}`} {
		whole := deadletters.Whole{Letter: letter, Headers: []record.Header{header}, Trace: []record.Header{header}, Value: []byte(value)}
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			err1 := printLetters(&out, deadletters.Listing{Letters: []deadletters.Letter{letter}}, deadletters.Filter{}, asJSON)
			err2 := printLetter(&out, whole, asJSON)
			s := &resolving{verb: "replayed", json: asJSON, out: &out, err: &out}
			s.take(deadletters.Outcome{Letter: letter, Err: errors.New(hostileText)})
			_ = s.finish() // says that one has failed
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			checkPrintable(t, out.String())
		}
	}
}

func TestOtherOutputIsPrintable(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		printFinding(&out, asJSON)(doctor.Finding{Part: "kafka", Detail: hostileText, Remedy: hostileText})
		err1 := printAudit(&out, audit.Report{Differences: []audit.Difference{{Kind: audit.Undecided, OrderID: hostileText, Detail: hostileText}}}, asJSON)
		err2 := printTrace(&out, traces.Report{Order: hostileText, Why: hostileText, Facts: []traces.Fact{{Kind: traces.KindSetAside, Reason: "malformed"}}}, 0, asJSON)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		checkPrintable(t, out.String())
	}
	var stderr bytes.Buffer
	if Run(t.Context(), nil, []string{"vigie", hostileText}, nil, io.Discard, &stderr); stderr.Len() == 0 {
		t.Error("an unknown command is no error")
	}
	checkPrintable(t, stderr.String())
}
