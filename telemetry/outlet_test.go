package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// sink is an exporter of both signals whose results the test chooses.
type sink struct {
	mu       sync.Mutex
	taken    int
	largest  int
	shutdown int
	answer   func(ctx context.Context) error
}

func (s *sink) take(ctx context.Context, n int) error {
	var err error
	if s.answer != nil {
		err = s.answer(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, n)
	if err == nil {
		s.taken += n
	}
	return err
}

func (s *sink) Shutdown(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutdown++
	return nil
}

type spanSink struct{ *sink }

func (s spanSink) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return s.take(ctx, len(spans))
}

type logSink struct{ *sink }

func (s logSink) Export(ctx context.Context, records []sdklog.Record) error {
	return s.take(ctx, len(records))
}
func (s logSink) ForceFlush(context.Context) error { return nil }

// signals are the two ways out of the process; what holds for one holds for the other.
var signals = []struct {
	name, dropped string
	config        func(*sink) telemetry.Config
	record        func(t *testing.T, tel *telemetry.Telemetry)
}{
	{
		"traces", catalogue.SpansDroppedTotal,
		func(s *sink) telemetry.Config {
			return telemetry.Config{SpanExporters: []sdktrace.SpanExporter{spanSink{s}}}
		},
		func(t *testing.T, tel *telemetry.Telemetry) {
			_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "work")
			span.End()
		},
	},
	{
		"logs", catalogue.LogRecordsDroppedTotal,
		func(s *sink) telemetry.Config { return telemetry.Config{LogExporters: []sdklog.Exporter{logSink{s}}} },
		func(t *testing.T, tel *telemetry.Telemetry) { tel.Logger().InfoContext(t.Context(), "work") },
	},
}

// smallQueues makes both signals' queues hold so many, and batches half of that.
func smallQueues(t *testing.T, size int) {
	t.Helper()
	for _, p := range []string{"OTEL_BSP_", "OTEL_BLRP_"} {
		t.Setenv(p+"MAX_QUEUE_SIZE", fmt.Sprint(size))
		t.Setenv(p+"MAX_EXPORT_BATCH_SIZE", fmt.Sprint(size/2))
	}
}

// dropped returns what is counted as lost, by reason. It needs no Recorder, so that a test sees exactly the lines
// and goroutines of the exporters.
func dropped(t *testing.T, tel *telemetry.Telemetry, name string) map[string]float64 {
	t.Helper()
	families, err := tel.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	lost := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == "reason" {
					lost[l.GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
	}
	if len(lost) != 3 {
		t.Fatalf("%s has the reasons %v, want all three from the start", name, lost)
	}
	return lost
}

// reportedLosses returns how many log lines report losses, and how many are lost in all. The last line comes with the
// shutdown, after which there are no metrics.
func reportedLosses(t *testing.T, log *bytes.Buffer) (lines, lost int) {
	t.Helper()
	for line := range bytes.Lines(log.Bytes()) {
		var record struct {
			Msg  string
			Lost int
		}
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		if record.Msg == "telemetry did not get out" {
			lines++
			lost += record.Lost
		}
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	return lines, lost
}

// flush has everything exported that was recorded.
func flush(t *testing.T, tel *telemetry.Telemetry) {
	t.Helper()
	for _, p := range []any{tel.TracerProvider(), tel.LoggerProvider()} {
		if f, ok := p.(interface{ ForceFlush(context.Context) error }); ok { // spans that go nowhere need none
			if err := f.ForceFlush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func stop(t *testing.T, tel *telemetry.Telemetry, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if ctx.Err() != nil {
		t.Errorf("Shutdown took longer than %v", within)
	}
}

func outletTelemetry(t *testing.T, config telemetry.Config, w io.Writer) *telemetry.Telemetry {
	t.Helper()
	config.Service, config.LogWriter, config.LogFormat = "shop", w, telemetry.LogJSON
	return setup(t, config)
}

// An exporter that never returns costs what does not fit into the queue, no more: nothing waits, the losses are
// counted, and shutdown cuts it off. TestMain sees whether its goroutine is left.
func TestAStuckExporterHoldsUpNobody(t *testing.T) {
	for _, signal := range signals {
		t.Run(signal.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				smallQueues(t, 100)
				s := &sink{answer: func(ctx context.Context) error {
					<-ctx.Done()
					return ctx.Err()
				}}
				var log bytes.Buffer
				tel := outletTelemetry(t, signal.config(s), &log)
				for range 1000 { // in a bubble, waiting here would move the clock
					signal.record(t, tel)
				}
				if lost := dropped(t, tel, signal.dropped); lost["queue_full"] != 900 || lost["export_failed"] != 0 {
					t.Errorf("lost %v, want the 900 for which there was no room", lost)
				}
				stop(t, tel, time.Second)
				if s.shutdown != 1 || s.largest > 50 {
					t.Errorf("%d shutdowns, batches of %d; want 1, and 50 at most", s.shutdown, s.largest)
				}
				if _, lost := reportedLosses(t, &log); lost != 1000 || !strings.Contains(log.String(), `"signal":"`+signal.name) {
					t.Errorf("the log reports %d lost, want those 900 and the 100 that waited: %s", lost, log.String())
				}
			})
		})
	}
}

// An exporter that ignores its context cannot delay the process.
func TestShutdownGivesUpOnAnExporter(t *testing.T) {
	for _, signal := range signals {
		t.Run(signal.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				s := &sink{answer: func(context.Context) error { <-release; return nil }}
				tel := outletTelemetry(t, signal.config(s), io.Discard)
				signal.record(t, tel)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				err := tel.Shutdown(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "exporter of "+signal.name+" still runs") {
					t.Errorf("Shutdown: %v", err)
				}
				close(release)
			})
		})
	}
}

// A collector that is away for ten minutes is logged about once a minute, and never through itself.
func TestFailuresAreLoggedOnceAMinute(t *testing.T) {
	for _, signal := range signals {
		t.Run(signal.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sink{answer: func(context.Context) error { return errors.New("no route\n" + strings.Repeat("x", 5000)) }}
				var log bytes.Buffer
				tel := outletTelemetry(t, signal.config(s), &log)
				const minutes = 10
				for range minutes * 60 {
					signal.record(t, tel)
					<-time.After(time.Second) // the bubble's
				}
				if lost := dropped(t, tel, signal.dropped); lost["export_failed"] < (minutes-1)*60 || lost["queue_full"] != 0 {
					t.Errorf("lost %v, want about %d", lost, minutes*60)
				}
				stop(t, tel, time.Second)
				if lines, lost := reportedLosses(t, &log); lines < minutes || lines > minutes+2 || lost != minutes*60 {
					t.Errorf("logged %d times in %d minutes, of %d lost of %d", lines, minutes, lost, minutes*60)
				}
			})
		})
	}
}

// Whatever happens at once, what is recorded is taken or counted as lost.
func TestNothingIsLostUncounted(t *testing.T) {
	for _, signal := range signals {
		t.Run(signal.name, func(t *testing.T) {
			smallQueues(t, 64)
			var calls int
			s := &sink{answer: func(context.Context) error {
				if calls++; calls%3 == 0 {
					return errors.New("busy")
				}
				return nil
			}}
			var log bytes.Buffer
			tel := outletTelemetry(t, signal.config(s), &log)
			const workers, each = 8, 500
			var recording sync.WaitGroup
			for range workers {
				recording.Go(func() {
					for range each {
						signal.record(t, tel)
					}
				})
			}
			recording.Wait()
			stop(t, tel, time.Minute)
			if _, lost := reportedLosses(t, &log); s.taken+lost != workers*each || s.taken == 0 {
				t.Errorf("%d taken and %d lost, want %d together", s.taken, lost, workers*each)
			}
		})
	}
}

func TestPartOfABatchIsRejected(t *testing.T) {
	for text, want := range map[string]float64{
		"traces export: OTLP partial success: too old (3 spans rejected)": 3,
		"OTLP partial success: a\nb (0 logs rejected)":                    0,
		"OTLP partial success: empty message (99 logs rejected)":          10, // there were no more
	} {
		for _, signal := range signals {
			s := &sink{answer: func(context.Context) error { return errors.New(text) }}
			tel := outletTelemetry(t, signal.config(s), io.Discard)
			for range 10 {
				signal.record(t, tel)
			}
			flush(t, tel)
			if lost := dropped(t, tel, signal.dropped); lost["rejected"] != want || lost["export_failed"] != 0 {
				t.Errorf("%q: lost %v, want %v rejected", text, lost, want)
			}
			stop(t, tel, time.Minute)
		}
	}
}

// The SDK would panic over the first, and wait for a batch that never fills up over the last.
func TestSizesThatCannotBeMeant(t *testing.T) {
	for _, sizes := range [][2]string{{"-5", "-1"}, {"0", "0"}, {"many", ""}, {"10", "500"}} {
		for _, signal := range signals {
			for _, p := range []string{"OTEL_BSP_", "OTEL_BLRP_"} {
				t.Setenv(p+"MAX_QUEUE_SIZE", sizes[0])
				t.Setenv(p+"MAX_EXPORT_BATCH_SIZE", sizes[1])
			}
			s := &sink{}
			tel := outletTelemetry(t, signal.config(s), io.Discard)
			for range 10 {
				signal.record(t, tel)
			}
			stop(t, tel, time.Minute)
			if s.taken != 10 {
				t.Errorf("sizes %q: %s took %d of 10", sizes, signal.name, s.taken)
			}
		}
	}
}

// Spans that a sampler left out are nobody's loss.
func TestUnsampledSpansAreNotCounted(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	s := &sink{}
	tel := outletTelemetry(t, signals[0].config(s), io.Discard)
	signals[0].record(t, tel)
	flush(t, tel)
	defer stop(t, tel, time.Minute)
	if lost := dropped(t, tel, catalogue.SpansDroppedTotal); s.taken != 0 || lost["queue_full"]+lost["export_failed"] != 0 {
		t.Errorf("%d taken, %v lost", s.taken, lost)
	}
}

// Without exporters the counters stand at 0, so that an alert on them needs no exception.
func TestLossesAreZeroWithoutExporters(t *testing.T) {
	r := telemetrytest.New(t, "shop", nil)
	for _, signal := range signals {
		for reason, n := range dropped(t, r.Telemetry, signal.dropped) {
			if n != 0 {
				t.Errorf("%s: %v lost by %s", signal.dropped, n, reason)
			}
		}
	}
}
