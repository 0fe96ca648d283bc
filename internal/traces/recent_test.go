package traces

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// generous keeps all that a test begins.
const generous = 1 << 20

// member is one of the services of a process.
type member struct{ trace.Tracer }

func join(t testing.TB, recent *Recent, service string) member {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: service, LogWriter: t.Output(), Keeper: recent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return member{tel.TracerProvider().Tracer("test")}
}

// request places an order, and returns the context that its record carries.
func (m member) request(order string) trace.SpanContext {
	ctx, request := m.Start(context.Background(), "POST", trace.WithSpanKind(trace.SpanKindServer))
	_, send := m.Start(ctx, "send orders.created", trace.WithSpanKind(trace.SpanKindProducer))
	send.SetAttributes(attribute.String(keyAttribute, order), attribute.String("messaging.destination.name", "orders.created"))
	send.End()
	request.SetAttributes(attribute.Int("http.response.status_code", 201))
	request.End()
	return send.SpanContext()
}

// process is the work on a record that carries that context.
func (m member) process(carried trace.SpanContext, err error) trace.SpanContext {
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), carried), headers)
	ctx := propagation.TraceContext{}.Extract(context.Background(), headers)
	_, span := m.Start(ctx, "process orders.created", trace.WithSpanKind(trace.SpanKindConsumer))
	span.SetAttributes(attribute.String("messaging.destination.name", "orders.created"),
		attribute.String("messaging.destination.partition.id", "1"), attribute.Int("messaging.kafka.offset", 7))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
	return span.SpanContext()
}

func names(t Trace) string {
	var all []string
	for _, l := range NewTree(t).Lines {
		all = append(all, l.Service+": "+l.title())
	}
	return strings.Join(all, ", ")
}

// A trace is kept from its request to its last consumer, or nothing of it is:
// the services of a process agree, though each of them decides by itself.
func TestATraceIsKeptWholeOrNotAtAll(t *testing.T) {
	recent := NewRecent(Limits{Started: 5})
	frozen := time.Now()
	recent.now = func() time.Time { return frozen }
	commande, paiement := join(t, recent, "commande"), join(t, recent, "paiement")
	kept := 0
	for i := range 20 {
		order := fmt.Sprint("order-", i)
		carried := commande.request(order)
		if !carried.IsSampled() {
			t.Error("a trace that nobody decided about is not sampled")
		}
		paiement.process(carried, nil)
		byOrder, err := recent.Order(t.Context(), order)
		byID, errByID := recent.Trace(t.Context(), carried.TraceID().String())
		if fmt.Sprint(byOrder, err) != fmt.Sprint(byID, errByID) {
			t.Errorf("%s is %v, %v, and its trace %v, %v", order, byOrder, err, byID, errByID)
		}
		if err != nil {
			continue
		}
		kept++
		if got, want := names(byOrder), "commande: POST, commande: send orders.created, paiement: process orders.created/1/7"; got != want {
			t.Errorf("%s has the spans %s; want %s", order, got, want)
		}
	}
	if kept != 2 {
		t.Errorf("%d traces of a moment are kept, want half of the four that others leave room for", kept)
	}
	if _, err := recent.Order(t.Context(), "order-99"); err == nil {
		t.Error("an order that never was has a trace")
	}
}

// A client that says its trace is not sampled has its way: the page, which asks
// every few seconds, is one.
func TestAClientCanKeepItsTraceOut(t *testing.T) {
	recent := NewRecent(Limits{})
	m := join(t, recent, "commande")
	for flags, want := range map[string]bool{"00": false, "01": true} {
		carried := propagation.MapCarrier{"traceparent": "00-" + testTrace + "-00f067aa0ba902b7-" + flags}
		ctx := propagation.TraceContext{}.Extract(context.Background(), carried)
		_, span := m.Start(ctx, "POST", trace.WithSpanKind(trace.SpanKindServer))
		span.End()
		if hasTrace(recent, testTrace) != want {
			t.Errorf("with flags %s it is kept: %v", flags, !want)
		}
		recent = NewRecent(Limits{})
		m = join(t, recent, "commande")
	}
}

// Whatever comes, no second sees more traces begin than ten, and one that
// somebody is about to look at finds room. Reads leave half to what changes
// something.
func TestFewTracesBegin(t *testing.T) {
	const tick = time.Millisecond
	for name, test := range map[string]struct {
		requests    func(i int) string
		least, most int // in ten seconds
	}{
		"orders": {func(int) string { return "POST" }, 75, 81},
		"reads":  {func(int) string { return "GET" }, 45, 51},
		"both":   {func(i int) string { return []string{"GET", "POST"}[i%2] }, 75, 81},
	} {
		t.Run(name, func(t *testing.T) {
			recent := NewRecent(Limits{})
			start := time.Now()
			now := start
			recent.now = func() time.Time { return now }
			m := join(t, recent, "commande")
			var begun []time.Time
			followed := 0
			for i := range 10_000 {
				now = start.Add(time.Duration(i) * tick)
				ctx := context.Background()
				if i%1000 == 500 { // the page's
					id := fmt.Sprintf("%032x", i)
					if !recent.Follow(id) {
						t.Errorf("there is no room for a trace that somebody looks at, at %v", now.Sub(start))
					}
					followed++
					c, _ := ParseContext("00-" + id + "-00000000000000ab-01")
					carried := propagation.MapCarrier{"traceparent": "00-" + c.TraceID + "-" + c.SpanID + "-01"}
					ctx = propagation.TraceContext{}.Extract(ctx, carried)
				}
				_, span := m.Start(ctx, test.requests(i), trace.WithSpanKind(trace.SpanKindServer))
				span.End()
				if span.IsRecording() || hasTrace(recent, span.SpanContext().TraceID().String()) {
					begun = append(begun, now)
				}
			}
			for i := 10; i < len(begun); i++ {
				if begun[i].Sub(begun[i-10]) < time.Second {
					t.Fatalf("eleven traces begin within %v", begun[i].Sub(begun[i-10]))
				}
			}
			if n := len(begun); n < test.least || n > test.most+followed {
				t.Errorf("%d traces begin in ten seconds, want %d to %d", n, test.least, test.most+followed)
			}
			slices.SortFunc(begun, time.Time.Compare)
			if late := begun[len(begun)/2].Sub(start); late < 4*time.Second || late > 6*time.Second {
				t.Errorf("half of the traces begin in the first %v: they are not spread", late)
			}
		})
	}
}

func hasTrace(r *Recent, id string) bool {
	_, err := r.Trace(context.Background(), id)
	return err == nil
}

// Memory is what the limit says, by what the runtime counts; what failed or was
// slow outlives what was not.
func TestMemoryIsBounded(t *testing.T) {
	const limit, orders = 2 << 20, 10_000
	recent := NewRecent(Limits{Started: generous, Bytes: limit, Slow: time.Hour})
	commande, paiement := join(t, recent, "commande"), join(t, recent, "paiement")
	before := heap()
	for i := range orders {
		var err error
		if i < 100 {
			err = fmt.Errorf("timeout")
		}
		carried := commande.request(fmt.Sprint("order-", i))
		for range 5 {
			paiement.process(carried, err)
		}
		if total := recent.kinds[ordinary].bytes + recent.kinds[notable].bytes; total > limit {
			t.Fatalf("%d bytes are kept", total)
		}
	}
	grown := int64(heap()) - int64(before)
	counted := recent.kinds[ordinary].bytes + recent.kinds[notable].bytes
	if counted < limit*9/10 || grown > counted*13/10 || grown < counted/2 {
		t.Errorf("%d bytes are counted and the heap has grown by %d", counted, grown)
	}
	for i, want := range map[int]bool{0: true, 99: true, 100: false, orders - 1: true} {
		if _, err := recent.Order(t.Context(), fmt.Sprint("order-", i)); (err == nil) != want {
			t.Errorf("order-%d: %v", i, err)
		}
	}
	if len(recent.traces) != recent.kinds[ordinary].byAge.Len()+recent.kinds[notable].byAge.Len() || len(recent.orders) != len(recent.traces) {
		t.Errorf("%d traces, %d orders, %d and %d in the lists", len(recent.traces), len(recent.orders),
			recent.kinds[ordinary].byAge.Len(), recent.kinds[notable].byAge.Len())
	}
}

// Where everything fails, failures go as well, the oldest first.
func TestFailuresMakeRoomForFailures(t *testing.T) {
	recent := NewRecent(Limits{Started: generous, Bytes: 1 << 20})
	m := join(t, recent, "paiement")
	for i := range 5000 {
		m.process(m.request(fmt.Sprint("order-", i)), fmt.Errorf("timeout"))
	}
	if _, err := recent.Order(t.Context(), "order-4999"); err != nil {
		t.Error(err)
	}
	if _, err := recent.Order(t.Context(), "order-0"); err == nil || recent.kinds[notable].bytes > 1<<20 {
		t.Errorf("the oldest: %v; %d bytes", err, recent.kinds[notable].bytes)
	}
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A client may send everything in one trace, which does not fill the memory.
func TestATraceHasItsShare(t *testing.T) {
	recent := NewRecent(Limits{Started: generous, Bytes: 1 << 20})
	m := join(t, recent, "commande")
	first := m.request("order-0")
	for range 2000 {
		m.process(first, nil)
	}
	if k := recent.traces[first.TraceID()]; k.bytes > recent.limits.Bytes/largest*2 || len(k.spans) < 10 {
		t.Errorf("a trace has %d bytes and %d spans", k.bytes, len(k.spans))
	}
	if recent.counts.spansDropped < 1000 {
		t.Errorf("%d spans are counted as left out", recent.counts.spansDropped)
	}
}

// A decision that comes long after its order is in its trace, which counts as
// slow; and what was done for many records at once says for how many.
func TestLateSpansAndBatchesAreKept(t *testing.T) {
	recent := NewRecent(Limits{})
	commande, paiement := join(t, recent, "commande"), join(t, recent, "paiement")
	carried := commande.request("order-1")
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), carried)
	_, late := paiement.Start(ctx, "process orders.created", trace.WithTimestamp(time.Now().Add(2*time.Hour)))
	late.End(trace.WithTimestamp(time.Now().Add(2*time.Hour + time.Millisecond)))
	_, batch := paiement.Start(context.Background(), "store orders.created", trace.WithLinks(trace.Link{SpanContext: carried}))
	batch.SetAttributes(attribute.Int("messaging.batch.message_count", 12))
	batch.End()
	_, echo := paiement.Start(trace.ContextWithSpanContext(context.Background(), late.SpanContext()), "store orders.created",
		trace.WithLinks(trace.Link{SpanContext: batch.SpanContext()}))
	echo.End()
	_, other := paiement.Start(context.Background(), "store orders.created")
	other.End()
	found, err := recent.Order(t.Context(), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	tree := NewTree(found)
	Batches(t.Context(), recent, tree)
	text := Report{Order: "order-1", TraceID: tree.TraceID, Tree: tree}.Text(0)
	if len(tree.Lines) != 4 || !strings.Contains(text, "batch of 12") || other.IsRecording() || !batch.SpanContext().IsValid() {
		t.Errorf("%s", text)
	}
	if k := recent.traces[carried.TraceID()]; k.kind != notable || recent.counts.kept != 1 {
		t.Errorf("a trace of two hours is of kind %d; %d are kept", k.kind, recent.counts.kept)
	}
	rows := tree.Rows()
	for _, row := range rows {
		if row.From < 0 || row.From+row.Width > 1 || row.Name == "" || row.Service == "" {
			t.Errorf("row %+v", row)
		}
	}
	if last := rows[len(rows)-1]; len(last.Links) != 1 || last.Depth != 3 {
		t.Errorf("the batch's part is the row %+v", last)
	}
}

// Readers, writers and requests may come at once.
func TestRecentIsShared(t *testing.T) {
	recent := NewRecent(Limits{Started: generous, Bytes: 1 << 19})
	m := join(t, recent, "commande")
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 500 {
				order := fmt.Sprint("order-", w, "-", i)
				m.process(m.request(order), nil)
				if found, err := recent.Order(t.Context(), order); err == nil && len(found.Spans) == 0 {
					t.Error("a trace without spans")
				}
				recent.Follow(fmt.Sprintf("%032x", w*1000+i+1))
			}
		})
	}
	group.Wait()
}

// The metrics are there from the start, and say what became of traces.
func TestRecentIsMeasured(t *testing.T) {
	recent := NewRecent(Limits{Started: 10})
	r := telemetrytest.New(t, "sentinelle", Catalogue())
	registration, err := recent.Measure(r.Instruments())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registration.Unregister() })
	value := func(outcome string) float64 { return r.Metric(metricTraces, map[string]string{"outcome": outcome}) }
	if value("kept")+value("passed_over")+value("dropped") != 0 || r.Series(metricTraces, nil) != 3 {
		t.Error("the metrics do not begin at 0")
	}
	frozen := time.Now()
	recent.now = func() time.Time { return frozen }
	m := join(t, recent, "commande")
	for range 6 {
		m.process(m.request("order-1"), fmt.Errorf("timeout"))
	}
	if value("kept") != 4 || value("passed_over") != 2 || r.Metric(metricKept, map[string]string{"kind": "notable"}) != 4 || r.Metric(metricMemory, nil) < 1000 {
		t.Errorf("the page says\n%s", r.Page())
	}
	r.CheckCatalogue()
}

// What is passed over is not paid for: a request costs as many allocations as
// without a keeper.
func TestWhatIsPassedOverCostsNothing(t *testing.T) {
	recent := NewRecent(Limits{Started: 1})
	recent.now = func() time.Time { return time.Unix(1, 0) }
	recent.Follow(testTrace) // there is no more room
	m := join(t, recent, "commande")
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "commande", LogWriter: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	bare := member{tel.TracerProvider().Tracer("test")}
	if with, without := testing.AllocsPerRun(200, func() { m.request("order-1") }), testing.AllocsPerRun(200, func() { bare.request("order-1") }); with > without {
		t.Errorf("%v allocations with a keeper, %v without", with, without)
	}
	if recent.counts.passedOver < 200 {
		t.Errorf("%d are passed over", recent.counts.passedOver)
	}
}

// BenchmarkPassedOver is an order's way through two services that keep traces,
// none of which is taken, against the same without a keeper, in turn.
func BenchmarkPassedOver(b *testing.B) {
	recent := NewRecent(Limits{Started: 1})
	recent.now = func() time.Time { return time.Unix(1, 0) }
	recent.Follow(testTrace) // there is no more room
	tel, err := telemetry.Setup(b.Context(), telemetry.Config{Service: "commande", LogWriter: b.Output()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	with, without := join(b, recent, "commande"), member{tel.TracerProvider().Tracer("test")}
	const round = 1000
	var took [2]time.Duration
	orders := 0
	for b.Loop() {
		for side, m := range []member{with, without} {
			start := time.Now()
			for range round {
				m.process(m.request("order-1"), nil)
			}
			took[side] += time.Since(start)
		}
		orders += round
	}
	b.ReportMetric(float64(took[0].Nanoseconds())/float64(orders), "ns/order-with")
	b.ReportMetric(float64(took[1].Nanoseconds())/float64(orders), "ns/order-without")
	b.ReportMetric(0, "ns/op")
}
