package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"

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

// taker is a log processor that keeps what it gets.
type taker struct{ records []sdklog.Record }

func (k *taker) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (k *taker) OnEmit(_ context.Context, r *sdklog.Record) error {
	k.records = append(k.records, r.Clone())
	return nil
}
func (k *taker) ForceFlush(context.Context) error { return nil }
func (k *taker) Shutdown(context.Context) error   { return nil }

func attributesOf(r sdklog.Record) map[string]any {
	all := map[string]any{}
	r.WalkAttributes(func(kv attribute.KeyValue) bool {
		all[string(kv.Key)] = plain(kv.Value)
		return true
	})
	return all
}

func plain(v attribute.Value) any {
	if v.Type() != attribute.MAP {
		return v.AsInterface()
	}
	members := map[string]any{}
	for _, kv := range v.AsMap() {
		members[string(kv.Key)] = plain(kv.Value)
	}
	return members
}

func withTaker(t *testing.T, config telemetry.Config) (*telemetry.Telemetry, *taker, *bytes.Buffer) {
	t.Helper()
	k, lines := &taker{}, &bytes.Buffer{}
	config.Service, config.LogWriter, config.LogProcessors = "shop", lines, []sdklog.Processor{k}
	tel := setup(t, config)
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tel, k, lines
}

func TestLogRecordsBelongToTheirTrace(t *testing.T) {
	tel, k, lines := withTaker(t, telemetry.Config{Version: "1.2", SampleUnrecorded: true})
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
	defer span.End()
	before := time.Now()
	tel.Logger().WarnContext(ctx, "inside", "topic", "orders.created")
	tel.Logger().Error("outside")
	if len(k.records) != 2 || strings.Count(lines.String(), "\n") != 2 {
		t.Fatalf("%d records and the lines %q, want two of each", len(k.records), lines.String())
	}
	inside, outside := k.records[0], k.records[1]
	if inside.TraceID() != span.SpanContext().TraceID() || inside.SpanID() != span.SpanContext().SpanID() || !inside.TraceFlags().IsSampled() {
		t.Errorf("trace %v, span %v, want %+v", inside.TraceID(), inside.SpanID(), span.SpanContext())
	}
	if outside.TraceID().IsValid() || outside.SpanID().IsValid() {
		t.Errorf("a record without a span is of trace %v", outside.TraceID())
	}
	if inside.Severity() != log.SeverityWarn || inside.SeverityText() != "WARN" || outside.Severity() != log.SeverityError {
		t.Errorf("severities %v %q and %v", inside.Severity(), inside.SeverityText(), outside.Severity())
	}
	if inside.Body().AsString() != "inside" || inside.Timestamp().Before(before) || inside.ObservedTimestamp().IsZero() {
		t.Errorf("body %v at %v", inside.Body(), inside.Timestamp())
	}
	if got, want := attributesOf(inside), map[string]any{"topic": "orders.created"}; !reflect.DeepEqual(got, want) {
		t.Errorf("attributes %v, want %v: the ids are fields of their own", got, want)
	}
	for key, want := range map[attribute.Key]string{"service.name": "shop", "service.version": "1.2"} {
		if v, _ := inside.Resource().Set().Value(key); v.AsString() != want {
			t.Errorf("resource has %s %q, want %q", key, v.AsString(), want)
		}
	}
}

// resolving is a value that is worked out when it is logged.
type resolving struct{ value slog.Value }

func (r resolving) LogValue() slog.Value { return r.value }

func TestLogRecordsAreCleaned(t *testing.T) {
	const evil = "a\x1b[2J\xff"
	var none *nilError
	long := strings.Repeat("é", 10_000)
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	tests := map[string]struct{ value, want any }{
		"text":       {evil, `a\u001b[2J` + "\uFFFD"},
		"error":      {errors.New(evil), `a\u001b[2J` + "\uFFFD"},
		"nil error":  {error(none), "<no text>"},
		"struct":     {struct{ Text string }{evil}, `{Text:a\u001b[2J` + "\uFFFD}"},
		"marshaler":  {marshaler(evil), `a\u001b[2J` + "\uFFFD"},
		"bytes":      {[]byte("b\xff"), "b\uFFFD"},
		"time":       {at, "2026-02-03T04:05:06.000000007Z"},
		"number":     {42, int64(42)},
		"share":      {0.5, 0.5},
		"truth":      {true, true},
		"duration":   {time.Second, int64(time.Second)},
		"resolved":   {resolving{slog.StringValue(evil)}, `a\u001b[2J` + "\uFFFD"},
		"group":      {resolving{slog.GroupValue(slog.String("in", evil))}, map[string]any{"in": `a\u001b[2J` + "\uFFFD"}},
		"lines stay": {"a\nb", "a\nb"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tel, k, _ := withTaker(t, telemetry.Config{})
			tel.Logger().Info("m", name, test.value)
			tel.Logger().With(name, test.value).Info("m")
			tel.Logger().WithGroup("g").Info("m", name, test.value)
			for i, want := range []map[string]any{{name: test.want}, {name: test.want}, {"g": map[string]any{name: test.want}}} {
				if got := attributesOf(k.records[i]); !reflect.DeepEqual(got, want) {
					t.Errorf("attributes %#v, want %#v", got, want)
				}
			}
		})
	}
	t.Run("message, key and length", func(t *testing.T) {
		tel, k, _ := withTaker(t, telemetry.Config{})
		tel.Logger().WithGroup("g\xff").Info("m\n"+evil+long, "k\xff", long)
		message := k.records[0].Body().AsString()
		if !strings.HasPrefix(message, `m\u000aa\u001b[2J`) || !utf8.ValidString(message) || len(message) > 9000 {
			t.Errorf("message of %d bytes %.40q", len(message), message)
		}
		value, _ := attributesOf(k.records[0])["g\uFFFD"].(map[string]any)["k\uFFFD"].(string)
		if !utf8.ValidString(value) || len(value) > 9000 || !strings.HasSuffix(value, "é…") {
			t.Errorf("value of %d bytes", len(value))
		}
	})
}

func TestLogRecordsHaveTheLogsLevel(t *testing.T) {
	tel, k, lines := withTaker(t, telemetry.Config{LogLevel: slog.LevelWarn})
	if tel.Logger().Enabled(t.Context(), slog.LevelInfo) {
		t.Error("info is enabled")
	}
	tel.Logger().Info("hidden")
	tel.Logger().Warn("shown")
	if len(k.records) != 1 || strings.Contains(lines.String(), "hidden") {
		t.Errorf("%d records, lines %q", len(k.records), lines.String())
	}
}

// The local log goes on while telemetry is shut down, and after it.
func TestLocalLogOutlivesTheExport(t *testing.T) {
	tel, k, lines := withTaker(t, telemetry.Config{})
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	tel.Logger().Info("late")
	if len(k.records) != 0 || !strings.Contains(lines.String(), "late") {
		t.Errorf("%d records, lines %q", len(k.records), lines.String())
	}
}
