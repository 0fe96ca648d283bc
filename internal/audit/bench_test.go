package audit

import (
	"runtime"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/record"
)

// BenchmarkAudit takes 20,000 decided orders into a log and reconciles them:
// what an audit costs beside reading records from Kafka and rows from storage.
func BenchmarkAudit(b *testing.B) {
	const orders = 20_000
	w := newWorld()
	for range orders {
		w.create(101)
	}
	w.settle()
	state, spans := w.state(), w.spans(topics()...)
	var before, after runtime.MemStats
	var kept uint64
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := NewLog()
		l.Extend(spans)
		_ = w.scan(spans, func(r record.Record) error { l.Add(r); return nil })
		if report := Reconcile(l, state, time.Time{}); !report.AccountedFor {
			b.Fatal(report.Differences)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		kept = after.HeapAlloc - before.HeapAlloc
		runtime.KeepAlive(l)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/orders, "ns/order")
	b.ReportMetric(float64(kept)/orders, "B-kept/order")
}
