//go:build integration

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// outcome is what came of a script.
type outcome struct {
	Spans    int    // that have ended
	Kept     int    // that had not when all outcomes were known
	Open     int    // that never end
	Failed   int    // that say so
	Joined   int    // records whose span, and whose sender's or reader's, are of one trace
	Covered  string // whether the span of each record read lasts as long as its handler; - for none
	Metadata int    // records that an interceptor sees with the Metadata that was given
	Counted  int    // records that metrics know of
	Left     int    // goroutines of the library
}

func (o outcome) row(script, side string) string {
	cells := []string{script, side}
	for _, n := range []int{o.Spans, o.Kept, o.Open, o.Failed, o.Joined, o.Metadata, o.Counted, o.Left} {
		cells = append(cells, strconv.Itoa(n))
	}
	cells = append(cells, o.Covered)
	return "| " + strings.Join(cells, " | ") + " |\n"
}

const head = "| script | | spans | kept | never ended | failed | joined | Metadata | counted | goroutines | covered |\n" +
	"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"

// otelkafka does what must be done, in each script; the table of all is in the documentation.
func TestConformance(t *testing.T) {
	var table strings.Builder
	table.WriteString(head)
	for _, script := range scripts() {
		table.WriteString(script.must.row(script.name, "*must be*"))
		for n, name := range []string{"sarama", "otelkafka", "otelsarama"} {
			t.Run(script.name+", "+name, func(t *testing.T) {
				s := newStage(t)
				side := sides(t, s)[n]
				before := len(goroutines(side.library)) // of earlier scripts
				script.run(t, s, side)
				s.settle(t, side)
				got := s.outcome(t)
				got.Left = len(goroutines(side.library)) - before
				table.WriteString(got.row("", name))
				if name == "otelkafka" && got != script.must {
					t.Errorf("got %+v, want %+v", got, script.must)
				}
			})
		}
	}
	t.Log("\n" + table.String())
	telemetrytest.Golden(t, "table.md", table.String())
}

// stage is a broker, and an OpenTelemetry SDK as an application has it.
type stage struct {
	cluster *kfake.Cluster
	client  sarama.Client
	spans   *tracetest.SpanRecorder
	tracers trace.TracerProvider
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider
	seen    atomic.Int64 // records with the given Metadata
	open    int
	mu      sync.Mutex
	handled []handling
	senders map[trace.SpanID]bool
}

// handling is when a record was handled, and in which span.
type handling struct {
	span         trace.SpanID
	begin, ended time.Time
}

func newStage(t *testing.T) *stage {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s := &stage{cluster: cluster, spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader(), senders: make(map[trace.SpanID]bool)}
	if s.client, err = sarama.NewClient(cluster.ListenAddrs(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	s.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	s.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))
	return s
}

// config has an interceptor that looks at Metadata, as it can be used for anything.
func (s *stage) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.MaxMessageBytes = 1000
	config.Producer.Interceptors = []sarama.ProducerInterceptor{s}
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.MaxWaitTime = 20 * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 20 * time.Millisecond
	return config
}

// OnSend implements [sarama.ProducerInterceptor].
func (s *stage) OnSend(msg *sarama.ProducerMessage) {
	if _, given := msg.Metadata.(int); given {
		s.seen.Add(1)
	}
}

// kept notes how many spans have not ended though all outcomes are known.
func (s *stage) kept() { s.open = len(s.spans.Started()) - len(s.spans.Ended()) }

// stored returns how many records the log has.
func (s *stage) stored(t *testing.T) (n int) {
	t.Helper()
	for partition := range int32(3) {
		n += s.end(t, partition)
	}
	return n
}

// end returns how many records a partition has.
func (s *stage) end(t *testing.T, partition int32) int {
	t.Helper()
	end, err := s.client.GetOffset("out", partition, sarama.OffsetNewest)
	if err != nil {
		t.Fatal(err)
	}
	return int(end)
}

// seed writes as many records to each partition, each with the trace of a sender of its own.
func (s *stage) seed(t *testing.T) {
	t.Helper()
	config := s.config()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	p, err := sarama.NewSyncProducer(s.cluster.ListenAddrs(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	tracer := sdktrace.NewTracerProvider().Tracer("seed")
	for n := range records {
		ctx, span := tracer.Start(t.Context(), "sender")
		headers := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, headers)
		span.End()
		s.senders[span.SpanContext().SpanID()] = true
		_, _, err := p.SendMessage(&sarama.ProducerMessage{
			Topic: "out", Partition: int32(n % 3), Value: sarama.StringEncoder("v"),
			Headers: []sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte(headers["traceparent"])}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.seen.Store(0)
}

// timed notes when records are handled.
func (s *stage) timed(h handle) handle {
	return func(ctx context.Context, msg *sarama.ConsumerMessage) error {
		begin := time.Now()
		<-time.After(2 * time.Millisecond) // work, which a span is to cover
		err := h(ctx, msg)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handled = append(s.handled, handling{trace.SpanContextFromContext(ctx).SpanID(), begin, time.Now()})
		return err
	}
}

// outcome is measured when everything is closed.
func (s *stage) outcome(t *testing.T) outcome {
	t.Helper()
	o := outcome{Kept: s.open, Metadata: int(s.seen.Load()), Counted: s.counted(t)}
	ended := make(map[trace.SpanID]sdktrace.ReadOnlySpan)
	for _, span := range s.spans.Ended() {
		ended[span.SpanContext().SpanID()] = span
		if span.Status().Code == codes.Error {
			o.Failed++
		}
		if s.senders[span.Parent().SpanID()] {
			o.Joined++
		}
	}
	o.Spans = len(ended)
	o.Open = len(s.spans.Started()) - o.Spans
	if len(s.senders) == 0 {
		o.Joined = s.carried(t, ended)
	}
	o.Covered = "-"
	for _, h := range s.handled {
		span := ended[h.span]
		if span == nil || span.StartTime().After(h.begin) || span.EndTime().Before(h.ended) {
			o.Covered = "no"
			break
		}
		o.Covered = "yes"
	}
	return o
}

// carried returns how many records in the log carry the context of a span that has ended.
func (s *stage) carried(t *testing.T, ended map[trace.SpanID]sdktrace.ReadOnlySpan) (n int) {
	t.Helper()
	for _, claim := range claimsOf(t, s) {
		for range s.end(t, claim.partition) {
			for _, header := range (<-claim.Messages()).Headers {
				if string(header.Key) != "traceparent" {
					continue
				}
				ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": string(header.Value)})
				if ended[trace.SpanContextFromContext(ctx).SpanID()] != nil {
					n++
				}
			}
		}
		claim.end()
	}
	return n
}

// counted returns how many records the counters of records say were sent, read or failed.
func (s *stage) counted(t *testing.T) (n int) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	records := []string{"kafka.messages.produced", "kafka.messages.consumed", "kafka.send.failures", "kafka.process.failures"}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, counter := m.Data.(metricdata.Sum[int64])
			if !counter || !slices.Contains(records, m.Name) {
				continue
			}
			for _, point := range sum.DataPoints {
				n += int(point.Value)
			}
		}
	}
	return n
}

// goroutines returns the states of those that run a library's code.
func goroutines(library string) (states []string) {
	dump := make([]byte, 1<<22)
	dump = dump[:runtime.Stack(dump, true)]
	for stack := range bytes.SplitSeq(dump, []byte("\n\n")) {
		if bytes.Contains(stack, []byte(library)) {
			_, state, _ := strings.Cut(string(stack[:bytes.IndexByte(stack, '\n')]), "[")
			state, _, _ = strings.Cut(state, ",")
			states = append(states, strings.TrimSuffix(state, "]:"))
		}
	}
	return states
}

// settle waits until the library's goroutines have ended, or wait for what does not come: twice in a row, for one that is
// woken is seen to run.
func (s *stage) settle(t *testing.T, side side) {
	t.Helper()
	before := "-"
	eventually(t, "the goroutines of "+side.name+" come to rest", func() bool {
		now := fmt.Sprint(goroutines(side.library))
		rest := now == before && !strings.Contains(now, "run") && !strings.Contains(now, "sleep") && !strings.Contains(now, "IO")
		before = now
		return rest
	})
}

// eventually waits for what happens in others' goroutines.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// claim is a partition's records as a group's member has them.
type claim struct {
	sarama.PartitionConsumer
	partition int32
	end       func()
	ctx       context.Context //nolint:containedctx // the session's
}

func (c claim) Topic() string        { return "out" }
func (c claim) Partition() int32     { return c.partition }
func (c claim) InitialOffset() int64 { return 0 }

// claimsOf returns a claim on each partition, which has its records fetched.
func claimsOf(t *testing.T, s *stage) (claims []claim) {
	t.Helper()
	consumer, err := sarama.NewConsumer(s.cluster.ListenAddrs(), s.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = consumer.Close() })
	for partition := range int32(3) {
		p, err := consumer.ConsumePartition("out", partition, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		eventually(t, "records are fetched", func() bool { return s.end(t, partition) == 0 || len(p.Messages()) > 0 })
		claims = append(claims, claim{p, partition, func() { cancel(); p.AsyncClose() }, ctx})
	}
	return claims
}

func (c claim) session() sarama.ConsumerGroupSession { return session{ctx: c.ctx} }

type session struct {
	sarama.ConsumerGroupSession
	ctx context.Context //nolint:containedctx // the session's
}

func (s session) Context() context.Context                  { return s.ctx }
func (session) MarkMessage(*sarama.ConsumerMessage, string) {}
