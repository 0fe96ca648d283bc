package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

func setup(t *testing.T, config telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func TestLogsCarryTheTrace(t *testing.T) {
	loggers := map[string]struct {
		from func(*slog.Logger) *slog.Logger
		path []string // where the attribute k stands
	}{
		"plain":         {func(l *slog.Logger) *slog.Logger { return l }, []string{"k"}},
		"with attrs":    {func(l *slog.Logger) *slog.Logger { return l.With("a", 1) }, []string{"k"}},
		"with group":    {func(l *slog.Logger) *slog.Logger { return l.WithGroup("g") }, []string{"g", "k"}},
		"nested":        {func(l *slog.Logger) *slog.Logger { return l.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h") }, []string{"g", "h", "k"}},
		"empty of both": {func(l *slog.Logger) *slog.Logger { return l.WithGroup("").With() }, []string{"k"}},
	}
	for name, test := range loggers {
		t.Run(name, func(t *testing.T) {
			r := telemetrytest.New(t, "shop", nil)
			ctx, span := r.TracerProvider().Tracer("test").Start(t.Context(), "work")
			defer span.End()
			test.from(r.Logger()).InfoContext(ctx, "inside", "k", "v")
			test.from(r.Logger()).Info("outside", "k", "v")
			logs := r.Logs()
			if len(logs) != 2 {
				t.Fatalf("%d records, want 2", len(logs))
			}
			inside, outside := logs[0], logs[1]
			if inside["trace_id"] != span.SpanContext().TraceID().String() || inside["span_id"] != span.SpanContext().SpanID().String() {
				t.Errorf("record %v lacks the ids of the span", inside)
			}
			if _, found := outside["trace_id"]; found {
				t.Errorf("record %v has a trace without a span", outside)
			}
			for _, record := range logs {
				var value any = record
				for _, key := range test.path {
					value = value.(map[string]any)[key]
				}
				if value != "v" || record["service"] != "shop" {
					t.Errorf("record %v: want service shop and %v = v", record, test.path)
				}
			}
		})
	}
}

func TestTextLogs(t *testing.T) {
	var out bytes.Buffer
	tel := setup(t, telemetry.Config{Service: "suivi", LogWriter: &out})
	tel.Logger().Debug("hidden")
	tel.Logger().Info("order seen", "topic", "orders.created")
	if !regexp.MustCompile(`^suivi      \d\d:\d\d:\d\d\.\d{3} INF order seen topic=orders\.created\n$`).MatchString(out.String()) {
		t.Errorf("line %q", out.String())
	}
}

func TestTextLogsInColour(t *testing.T) {
	lines := make(map[string]string)
	for _, service := range []string{"suivi", "suivi", "paiement"} {
		var out bytes.Buffer
		tel := setup(t, telemetry.Config{Service: service, LogWriter: &out, LogFormat: telemetry.LogColored})
		tel.Logger().Info("x")
		colour := regexp.MustCompile(`^\x1b\[(\d+)m` + service + ` *\x1b\[0m `).FindStringSubmatch(out.String())
		if colour == nil {
			t.Fatalf("line %q does not start with the coloured name", out.String())
		}
		if before, ok := lines[service]; ok && before != colour[1] {
			t.Errorf("%s has the colours %s and %s", service, before, colour[1])
		}
		lines[service] = colour[1]
	}
}

// TestTextLogsCannotBeForged logs text that tries to end its line or steer the terminal.
func TestTextLogsCannotBeForged(t *testing.T) {
	evil := "a\nsuivi INF forged\r\x1b[2Jb\u009b2J" + ` and spelt \x1b[2J`
	for _, format := range []string{telemetry.LogColored, telemetry.LogText} {
		t.Run(format, func(t *testing.T) {
			var plain, out bytes.Buffer
			setup(t, telemetry.Config{Service: "s", LogWriter: &plain, LogFormat: format}).Logger().
				Info("m", "string", "v", "error", "v", "nil error", "v", "struct", "v", "marshaler", "v")
			tel := setup(t, telemetry.Config{Service: "s", LogWriter: &out, LogFormat: format})
			var none *nilError
			tel.Logger().Info(evil, "string", evil, "error", errors.New(evil), "nil error", error(none),
				"struct", struct{ Text string }{evil}, "marshaler", marshaler(evil))
			if n := strings.Count(out.String(), "\n"); n != 1 {
				t.Errorf("%d lines: %q", n, out.String())
			}
			if strings.ContainsAny(out.String(), "\r\u009b") {
				t.Errorf("a control character came through: %q", out.String())
			}
			if got, want := strings.Count(out.String(), "\x1b"), strings.Count(plain.String(), "\x1b"); got != want {
				t.Errorf("%d escapes, want the handler's own %d: %q", got, want, out.String())
			}
		})
	}
}

// nilError fails when its text is asked for through a nil pointer.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// marshaler is a type that says what its text is.
type marshaler string

func (m marshaler) MarshalText() ([]byte, error) { return []byte(m), nil }

// cutting is a writer that a second concurrent Write would be seen in.
type cutting struct{ lines bytes.Buffer }

func (c *cutting) Write(p []byte) (int, error) {
	for _, b := range p {
		c.lines.WriteByte(b)
		runtime.Gosched()
	}
	return len(p), nil
}

func TestServicesShareAWriter(t *testing.T) {
	for _, format := range []string{telemetry.LogText, telemetry.LogJSON} {
		t.Run(format, func(t *testing.T) {
			const services, each = 4, 200
			out := &cutting{}
			shared := telemetry.NewLineWriter(out)
			var writing sync.WaitGroup
			for i := range services {
				tel := setup(t, telemetry.Config{Service: fmt.Sprintf("s%d", i), LogWriter: shared, LogFormat: format})
				writing.Go(func() {
					for range each {
						tel.Logger().Info("message")
					}
				})
			}
			writing.Wait()
			text := regexp.MustCompile(`^s\d {9}\d\d:\d\d:\d\d\.\d{3} INF message\n$`)
			count := 0
			for line := range strings.Lines(out.lines.String()) {
				count++
				if format == telemetry.LogText && !text.MatchString(line) || format == telemetry.LogJSON && !json.Valid([]byte(line)) {
					t.Fatalf("line %q is cut", line)
				}
			}
			if count != services*each {
				t.Errorf("%d lines, want %d", count, services*each)
			}
		})
	}
}

func TestNewLineWriterIsIdempotent(t *testing.T) {
	w := telemetry.NewLineWriter(io.Discard)
	if telemetry.NewLineWriter(w) != w || w.Unwrap() != io.Discard {
		t.Error("a LineWriter was wrapped again")
	}
}

func TestLogLevel(t *testing.T) {
	var out bytes.Buffer
	tel := setup(t, telemetry.Config{Service: "s", LogWriter: &out, LogFormat: telemetry.LogJSON, LogLevel: slog.LevelWarn})
	tel.Logger().Info("hidden")
	tel.Logger().Warn("shown")
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "shown") {
		t.Errorf("log %q", got)
	}
}
