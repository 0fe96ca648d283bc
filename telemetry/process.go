package telemetry

import (
	"context"
	"runtime/metrics"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// observeProcess registers process_uptime_seconds and process_memory_usage_bytes.
func observeProcess(instruments *Instruments) error {
	setup, before := time.Now(), processAge()
	_, err := instruments.Float64ObservableGauge(catalogue.ProcessUptimeSeconds, func(_ context.Context, o metric.Float64Observer) error {
		o.Observe((before + time.Since(setup)).Seconds())
		return nil
	})
	if err != nil {
		return err
	}
	as := func(kind string) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("type", kind)))
	}
	rss, total, used, external := as("rss"), as("heapTotal"), as("heapUsed"), as("external")
	_, err = instruments.Int64ObservableGauge(catalogue.ProcessMemoryUsageBytes, func(_ context.Context, o metric.Int64Observer) error {
		m := readMemory()
		o.Observe(m.rss, rss)
		o.Observe(m.heapTotal, total)
		o.Observe(m.heapUsed, used)
		o.Observe(m.external, external)
		return nil
	})
	return err
}

// memory is the process's memory in bytes.
type memory struct{ rss, heapTotal, heapUsed, external int64 }

// readMemory reads the runtime's own accounts, which unlike runtime.ReadMemStats does not stop the program.
// The heap total leaves out what went back to the system, so it can be compared with the resident set.
func readMemory() memory {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) int64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
		return int64(samples[i].Value.Uint64()) //nolint:gosec // bytes of memory fit in 63 bits
	}
	total, objects, unused, free, released := value(0), value(1), value(2), value(3), value(4)
	heap := objects + unused + free
	m := memory{heapTotal: heap, heapUsed: objects, external: total - heap - released}
	var ok bool
	if m.rss, ok = residentSet(); !ok {
		m.rss = total - released
	}
	return m
}
