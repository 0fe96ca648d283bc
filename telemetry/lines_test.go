package telemetry_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/telemetry"
)

const delay = 50 * time.Millisecond

// writes remembers each write.
type writes struct {
	mu  sync.Mutex
	all []string
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(p))
	return len(p), w.err
}

// see checks what has been written: how many lines in each write.
func (w *writes) see(t *testing.T, want ...int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var got []int
	for _, text := range w.all {
		got = append(got, strings.Count(text, "\n"))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v lines were written, want %v: %q", got, want, w.all)
	}
}

func TestLinesAreWrittenInBatches(t *testing.T) {
	for _, format := range []string{telemetry.LogText, telemetry.LogJSON} {
		synctest.Test(t, func(t *testing.T) {
			w := &writes{}
			lines := telemetry.NewBatchingLineWriter(w, delay)
			a := setup(t, telemetry.Config{Service: "a", LogWriter: lines, LogFormat: format}).Logger()
			b := setup(t, telemetry.Config{Service: "b", LogWriter: lines, LogFormat: format}).Logger()
			a.Info("1")
			b.Info("2")
			<-time.After(delay - 1)
			w.see(t)
			<-time.After(1)
			synctest.Wait()
			w.see(t, 2)
			<-time.After(time.Hour) // nothing waits any more
			b.Info("3")
			a.With("k", 1).Warn("a warning does not wait, nor what came before it")
			w.see(t, 2, 2)
			a.WithGroup("g").Info("4")
			fmt.Fprintln(lines, "nor does what is no log line")
			w.see(t, 2, 2, 1, 1)
			b.Info("5")
			if err := lines.Close(); err != nil {
				t.Error(err)
			}
			w.see(t, 2, 2, 1, 1, 1)
			b.Info("what comes after the end does not wait")
			w.see(t, 2, 2, 1, 1, 1, 1)
		})
	}
}

// TestNoLineIsLostOrCut logs much more than may wait, to a writer that shows where lines mix.
func TestNoLineIsLostOrCut(t *testing.T) {
	const services, each = 4, 500
	out := &cutting{}
	lines := telemetry.NewBatchingLineWriter(out, time.Millisecond)
	var writing sync.WaitGroup
	for i := range services {
		log := setup(t, telemetry.Config{Service: fmt.Sprintf("s%d", i), LogWriter: lines}).Logger()
		writing.Go(func() {
			for n := range each {
				log.Info("message", "n", n, "filler", strings.Repeat("x", 100))
			}
		})
	}
	writing.Wait()
	if err := lines.Close(); err != nil {
		t.Error(err)
	}
	next := map[string]int{}
	for line := range strings.Lines(out.lines.String()) {
		service := line[:2]
		if !strings.Contains(line, fmt.Sprintf(" INF message n=%d filler=xxx", next[service])) {
			t.Fatalf("line %d of %s is %q", next[service], service, line)
		}
		next[service]++
	}
	if fmt.Sprint(next) != fmt.Sprintf("map[s0:%d s1:%[1]d s2:%[1]d s3:%[1]d]", each) {
		t.Errorf("lines %v", next)
	}
}

func TestWhatCannotBeWrittenIsSaid(t *testing.T) {
	w := &writes{err: errors.New("full")}
	lines := telemetry.NewBatchingLineWriter(w, time.Hour)
	log := setup(t, telemetry.Config{Service: "s", LogWriter: lines}).Logger()
	log.Info("waits")
	if err := lines.Flush(); !errors.Is(err, w.err) {
		t.Errorf("Flush: %v", err)
	}
	if err := lines.Close(); err != nil { // nothing waits
		t.Errorf("Close: %v", err)
	}
	if _, err := lines.Write(nil); !errors.Is(err, w.err) {
		t.Errorf("Write: %v", err)
	}
}

func BenchmarkLogLine(b *testing.B) {
	for _, format := range []string{telemetry.LogText, telemetry.LogColored, telemetry.LogJSON} {
		b.Run(format, func(b *testing.B) {
			t, err := telemetry.Setup(b.Context(), telemetry.Config{Service: "commande", LogWriter: io.Discard, LogFormat: format})
			if err != nil {
				b.Fatal(err)
			}
			ctx, span := t.TracerProvider().Tracer("").Start(b.Context(), "")
			defer span.End()
			b.ReportAllocs()
			for b.Loop() {
				t.Logger().LogAttrs(ctx, slog.LevelInfo, "order created", slog.String("order_id", "order-1234"), slog.String("request_id", "7f8a-1"))
			}
		})
	}
}
