//go:build unix

package otelkafka

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/dnwe/otelsarama"
	"github.com/twmb/franz-go/pkg/kfake"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vigie-dev/vigie/telemetry"
)

// These compare the wrappers with the same code on bare sarama and with dnwe/otelsarama, in one run: each iteration
// gives every side the same records, in turns. Metrics are on, a tenth of the traces is sampled and goes to an
// exporter that drops it. "ratio" is bare sarama's time by ours, the median over the iterations; "cpu-ratio" is the
// same of the CPU time of the whole process, the broker included, which other load on the machine disturbs less.
//
//	go test -run '^$' -bench Wrap -benchtime 20x ./telemetry/otelkafka/

// benchSide does the benchmark's work for n records.
type benchSide struct {
	name string
	run  func(n int)
}

// compare runs the sides in turns; the first is the one to compare with.
func compare(b *testing.B, n int, sides ...benchSide) {
	b.Helper()
	wall, cpu := make([][]float64, len(sides)), make([][]float64, len(sides))
	for _, side := range sides {
		side.run(n) // warms up
	}
	turn := 0
	for b.Loop() {
		for k := range sides {
			k = (k + turn) % len(sides)
			start, busy := time.Now(), cpuTime()
			sides[k].run(n)
			wall[k] = append(wall[k], time.Since(start).Seconds())
			cpu[k] = append(cpu[k], (cpuTime() - busy).Seconds())
		}
		turn++
	}
	for k, side := range sides {
		b.ReportMetric(float64(n)/middle(wall[k]), side.name+"-records/s")
		if k > 0 {
			b.ReportMetric(medianRatio(wall[0], wall[k]), side.name+"-ratio")
			b.ReportMetric(medianRatio(cpu[0], cpu[k]), side.name+"-cpu-ratio")
		}
	}
	b.ReportMetric(medianRatio(wall[0], wall[1]), "ratio")
	b.ReportMetric(0, "ns/op")
}

func medianRatio(base, other []float64) float64 {
	ratios := make([]float64, len(base))
	for n := range base {
		ratios[n] = base[n] / other[n]
	}
	return middle(ratios)
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchInstrumentation has metrics on and a tenth of the traces sampled.
func benchInstrumentation(b *testing.B) (*telemetry.Telemetry, *Instrumentation) {
	b.Helper()
	b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	b.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
	tel, err := telemetry.Setup(b.Context(), telemetry.Config{
		Service:        "bench",
		SpanProcessors: []sdktrace.SpanProcessor{sdktrace.NewBatchSpanProcessor(tracetest.NewNoopExporter())},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	inst, err := New(tel, Options{ConsumerGroup: "g", Produces: []string{"out"}, Consumes: []string{"out"}})
	if err != nil {
		b.Fatal(err)
	}
	return tel, inst
}

func benchCluster(b *testing.B) *kfake.Cluster {
	b.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "out"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	return cluster
}

func otelsaramaOptions(tel *telemetry.Telemetry) []otelsarama.Option {
	return []otelsarama.Option{
		otelsarama.WithTracerProvider(tel.TracerProvider()), otelsarama.WithPropagators(tel.Propagator()),
	}
}
