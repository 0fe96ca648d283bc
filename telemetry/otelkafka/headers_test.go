package otelkafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/dnwe/otelsarama"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/telemetry"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func header(key, value string) sarama.RecordHeader {
	return sarama.RecordHeader{Key: []byte(key), Value: []byte(value)}
}

func headerKeys(headers []sarama.RecordHeader) []string {
	var names []string
	for _, h := range headers {
		names = append(names, string(h.Key))
	}
	return names
}

func TestInjectReplacesWhatAnEarlierSendLeft(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	ctx, span := inst.tracer.Start(t.Context(), "request")
	defer span.End()
	msg := &sarama.ProducerMessage{Topic: "out", Headers: []sarama.RecordHeader{
		header("traceparent", traceparent), header("eventId", "e-1"), header("tracestate", "a=1"),
		header("baggage", "tier=old"), header("traceparent", traceparent),
	}}
	inst.Inject(ctx, msg)
	if got := headerKeys(msg.Headers); !slices.Equal(got, []string{"eventId", "traceparent"}) {
		t.Errorf("headers %v, want eventId and one traceparent", got)
	}
	if got := string(msg.Headers[1].Value); !strings.Contains(got, span.SpanContext().SpanID().String()) {
		t.Errorf("traceparent %q is not the span's", got)
	}
}

func TestRecordsMayShareHeaders(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	shared := make([]sarama.RecordHeader, 1, 8)
	shared[0] = header("eventType", "OrderCreated")
	a := &sarama.ProducerMessage{Topic: "out", Headers: shared}
	b := &sarama.ProducerMessage{Topic: "out", Headers: shared}
	_, first := inst.StartSend(t.Context(), a)
	_, second := inst.StartSend(t.Context(), b)
	first.End(0, 0, nil)
	second.End(0, 1, nil)
	if bytes.Equal(a.Headers[1].Value, b.Headers[1].Value) {
		t.Error("two records carry one context")
	}
}

func TestExtractIgnoresHostileHeaders(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	tests := []struct {
		name    string
		headers []*sarama.RecordHeader
		valid   bool
		baggage int
	}{
		{name: "none"},
		{name: "nil header", headers: []*sarama.RecordHeader{nil, {Key: []byte("traceparent"), Value: []byte(traceparent)}}, valid: true},
		{name: "empty", headers: []*sarama.RecordHeader{{}, {Key: []byte("traceparent")}}},
		{name: "malformed", headers: []*sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte("00-zz")}}},
		{name: "oversized", headers: []*sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte(traceparent + strings.Repeat("-", maxHeader))}}},
		{name: "good baggage", headers: []*sarama.RecordHeader{{Key: []byte("baggage"), Value: []byte("a=1,b=2")}}, baggage: 2},
		{name: "oversized baggage", headers: []*sarama.RecordHeader{{Key: []byte("baggage"), Value: []byte("a=" + strings.Repeat("1", maxHeader))}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := inst.Extract(t.Context(), &sarama.ConsumerMessage{Topic: "in", Headers: test.headers})
			if got := trace.SpanContextFromContext(ctx).IsValid(); got != test.valid {
				t.Errorf("span context valid: %v, want %v", got, test.valid)
			}
			if got := baggage.FromContext(ctx).Len(); got != test.baggage {
				t.Errorf("%d members of baggage, want %d", got, test.baggage)
			}
		})
	}
}

// Headers that come several times are read as over HTTP: tracestate and baggage are lists, two traceparents are none.
func TestHeadersThatComeSeveralTimes(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	const other = "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01"
	for name, test := range map[string]struct {
		headers       []sarama.RecordHeader
		state, bagged string
		valid         bool
	}{
		"two states":                {[]sarama.RecordHeader{header("tracestate", "foo=1"), header("traceparent", traceparent), header("tracestate", "bar=2")}, "foo=1,bar=2", "", true},
		"three, one of them a list": {[]sarama.RecordHeader{header("traceparent", traceparent), header("tracestate", "a=1,b=2"), header("tracestate", ""), header("tracestate", "c=3")}, "a=1,b=2,c=3", "", true},
		"a member twice":            {[]sarama.RecordHeader{header("traceparent", traceparent), header("tracestate", "a=1"), header("tracestate", "a=2")}, "", "", true},
		"too large together":        {[]sarama.RecordHeader{header("traceparent", traceparent), header("tracestate", "a=1"), header("tracestate", strings.Repeat(" ", maxHeader))}, "", "", true},
		"two traceparents":          {[]sarama.RecordHeader{header("traceparent", traceparent), header("traceparent", other), header("tracestate", "a=1")}, "", "", false},
		"twice the same":            {[]sarama.RecordHeader{header("traceparent", traceparent), header("traceparent", traceparent)}, "", "", false},
		"a good and a bad one":      {[]sarama.RecordHeader{header("traceparent", "none"), header("traceparent", traceparent)}, "", "", false},
		"two lists of baggage":      {[]sarama.RecordHeader{header("baggage", "a=1"), header("baggage", "b=2")}, "", "a=1,b=2", false},
	} {
		t.Run(name, func(t *testing.T) {
			in := &sarama.ConsumerMessage{Topic: "in"}
			for i := range test.headers {
				in.Headers = append(in.Headers, &test.headers[i])
			}
			for _, ctx := range []context.Context{
				inst.Extract(t.Context(), in),
				inst.takeContext(&sarama.ProducerMessage{Topic: "in", Headers: test.headers}), // as an outbox sends it
			} {
				span := trace.SpanContextFromContext(ctx)
				if span.IsValid() != test.valid || span.TraceState().String() != test.state {
					t.Errorf("span context %v with %q, want %v with %q", span.IsValid(), span.TraceState(), test.valid, test.state)
				}
				var members []string
				for _, m := range baggage.FromContext(ctx).Members() {
					members = append(members, m.String())
				}
				slices.Sort(members)
				if got := strings.Join(members, ","); got != test.bagged {
					t.Errorf("baggage %q, want %q", got, test.bagged)
				}
			}
		})
	}
}

func TestExtractForgetsTheCallersBaggage(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	in := &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{{Key: []byte("baggage"), Value: []byte("a=1")}}}
	ctx := inst.Extract(t.Context(), in)
	if ctx = inst.Extract(ctx, &sarama.ConsumerMessage{}); baggage.FromContext(ctx).Len() != 0 {
		t.Error("the next record inherits the baggage of the one before")
	}
}

func TestCarrierKeysSkipNil(t *testing.T) {
	msg := &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{nil, {Key: []byte("a")}}}
	if got := (receiveCarrier{msg}).Keys(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("keys %v", got)
	}
}

func TestExtractBoundsTheTraceState(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	for members, want := range map[int]int{10: 10, 30: 0} { // 30 are well formed, but larger than maxHeader
		var state []string
		for i := range members {
			state = append(state, fmt.Sprintf("k%d=%s", i, strings.Repeat("v", 255)))
		}
		parent, states := header("traceparent", traceparent), header("tracestate", strings.Join(state, ",")+strings.Repeat(" ", 20*members))
		ctx := inst.Extract(t.Context(), &sarama.ConsumerMessage{Headers: []*sarama.RecordHeader{&parent, &states}})
		span := trace.SpanContextFromContext(ctx)
		if !span.IsValid() || span.TraceState().Len() != want {
			t.Errorf("%d members in %d bytes: %d are kept, want %d", members, len(states.Value), span.TraceState().Len(), want)
		}
	}
}

// What is written here is what otelsarama's carrier would write.
func TestHeadersAreTheCarriers(t *testing.T) {
	_, inst := newInstrumentation(t, Options{})
	state, err := trace.ParseTraceState("vendor=" + strings.Repeat("s", 100))
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.Parse("tier=gold")
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []trace.SpanContextConfig{
		{TraceFlags: 0}, {TraceFlags: 1}, {TraceFlags: 2}, {TraceFlags: 3}, {TraceFlags: 0xff}, {TraceFlags: 1, TraceState: state},
	} {
		for headers := range 6 {
			config.TraceID, config.SpanID = trace.TraceID{0xab, 15: byte(headers)}, trace.SpanID{1, 7: 0xff}
			plain := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(config))
			for _, ctx := range []context.Context{plain, baggage.ContextWithBaggage(plain, bag), t.Context()} {
				ours, theirs := &sarama.ProducerMessage{}, &sarama.ProducerMessage{}
				for range headers {
					ours.Headers = append(ours.Headers, header("eventId", "e-1"))
				}
				theirs.Headers = append(theirs.Headers, ours.Headers...)
				inst.Inject(ctx, ours)
				inst.propagator.Inject(ctx, otelsarama.NewProducerMessageCarrier(theirs))
				if !slices.EqualFunc(ours.Headers, theirs.Headers, sameHeader) {
					t.Errorf("headers %q, otelsarama's carrier has %q", ours.Headers, theirs.Headers)
				}
			}
		}
	}
	for _, field := range inst.fields {
		if !inst.isContext([]byte(field)) || inst.isContext([]byte(field+"x")) {
			t.Errorf("the header %s is mistaken for another", field)
		}
	}
}

// Headers that a fuzzer's bytes choose from; the first is a nil header, the last takes its name from its value.
const (
	fuzzNil = iota
	fuzzParent
	fuzzState
	fuzzBaggage
	fuzzForeign
	fuzzUpper
	fuzzNamed
	fuzzKinds
)

func fuzzName(kind int, value []byte) []byte {
	return [][]byte{
		nil, []byte("traceparent"), []byte("tracestate"), []byte("baggage"), []byte("eventId"), []byte("Traceparent"), value,
	}[kind]
}

// wire writes one header as [headersOf] reads it: kind, how often, length, value.
func wire(kind, times byte, value string) []byte {
	return append(binary.AppendUvarint([]byte{kind, times}, uint64(len(value))), value...)
}

// headersOf makes headers of any bytes. A time counts 64-fold from 128 on, so that few bytes make thousands.
func headersOf(data []byte) []*sarama.RecordHeader {
	var headers []*sarama.RecordHeader
	for len(data) > 2 {
		kind, times := int(data[0])%fuzzKinds, int(data[1])
		length, read := binary.Uvarint(data[2:])
		if read <= 0 {
			break
		}
		data = data[2+read:]
		value := data[:min(length, uint64(len(data)))]
		data = data[len(value):]
		if times >= 128 {
			times = (times - 127) * 64
		}
		for range max(1, times) {
			if kind == fuzzNil {
				headers = append(headers, nil)
				continue
			}
			headers = append(headers, &sarama.RecordHeader{Key: fuzzName(kind, value), Value: value})
		}
	}
	return headers
}

// wellFormed is W3C Trace Context, section 3.2, on its own: version 00 has no more than four fields and two flags.
func wellFormed(value []byte) bool {
	m := regexp.MustCompile(`(?s)^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`).FindSubmatch(value)
	if m == nil || len(value) > maxHeader || string(m[1]) == "ff" {
		return false
	}
	if string(m[1]) == "00" && (m[5] != nil || string(m[4]) > "03") {
		return false
	}
	return strings.Trim(string(m[2]), "0") != "" && strings.Trim(string(m[3]), "0") != ""
}

func copied(headers []*sarama.RecordHeader) []*sarama.RecordHeader {
	out := make([]*sarama.RecordHeader, len(headers))
	for i, h := range headers {
		if h != nil {
			out[i] = &sarama.RecordHeader{Key: bytes.Clone(h.Key), Value: bytes.Clone(h.Value)}
		}
	}
	return out
}

func sameHeader(a, b sarama.RecordHeader) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

// hop takes headers through a consumer and a producer that passes them on, and checks what every hop promises.
func hop(t *testing.T, inst *Instrumentation, headers []*sarama.RecordHeader) {
	t.Helper()
	before := copied(headers)
	in := &sarama.ConsumerMessage{Topic: "in", Headers: headers}
	remote := trace.SpanContextFromContext(inst.Extract(t.Context(), in))
	var parents [][]byte
	for _, h := range before {
		if h != nil && string(h.Key) == "traceparent" {
			parents = append(parents, h.Value)
		}
	}
	if want := len(parents) == 1 && wellFormed(parents[0]); remote.IsValid() != want {
		t.Fatalf("a context is taken: %v, want %v", remote.IsValid(), want)
	}
	ctx, process := inst.StartProcess(t.Context(), in)
	defer process.End(nil)
	if span := process.SpanContext(); !span.IsValid() || remote.IsValid() != (span.TraceID() == remote.TraceID()) {
		t.Errorf("the span %v does not follow %v", span, remote)
	}
	if !slices.EqualFunc(in.Headers, before, func(a, b *sarama.RecordHeader) bool {
		return (a == nil) == (b == nil) && (a == nil || sameHeader(*a, *b))
	}) {
		t.Error("the record received is changed")
	}
	passedOn(ctx, t, inst, before)
}

// passedOn sends a record with the headers that were received, as a forwarder would.
func passedOn(ctx context.Context, t *testing.T, inst *Instrumentation, received []*sarama.RecordHeader) {
	t.Helper()
	out, foreign := &sarama.ProducerMessage{Topic: "out"}, []sarama.RecordHeader(nil)
	for _, h := range received {
		if h == nil {
			continue
		}
		out.Headers = append(out.Headers, *h)
		if !slices.Contains(inst.fields, string(h.Key)) {
			foreign = append(foreign, *h)
		}
	}
	_, send := inst.StartSend(ctx, out)
	defer send.End(0, 0, nil)
	if len(out.Headers) < len(foreign) || !slices.EqualFunc(out.Headers[:len(foreign)], foreign, sameHeader) {
		t.Fatal("foreign headers are changed")
	}
	own, size := make(map[string]int), 0
	for _, h := range out.Headers[len(foreign):] {
		own[string(h.Key)]++
		size += len(h.Value)
	}
	for name, n := range own {
		if n != 1 || !slices.Contains(inst.fields, name) {
			t.Errorf("%d headers %q are written", n, name)
		}
	}
	if own["traceparent"] != 1 || size > 2*maxHeader+len(traceparent) {
		t.Errorf("%v with %d bytes are written", own, size)
	}
	back := &sarama.ConsumerMessage{Topic: "out"}
	for i := range out.Headers {
		back.Headers = append(back.Headers, &out.Headers[i])
	}
	if got := trace.SpanContextFromContext(inst.Extract(t.Context(), back)); got.SpanID() != send.SpanContext().SpanID() ||
		got.TraceID() != send.SpanContext().TraceID() || got.IsSampled() != send.SpanContext().IsSampled() {
		t.Errorf("the context sent, %v, comes back as %v", send.SpanContext(), got)
	}
}

// hostile are the cases to begin with, by name.
func hostile() map[string][]byte {
	join := slices.Concat[[]byte]
	other := strings.Replace(traceparent, "4bf9", "aaaa", 1)
	return map[string][]byte{
		"none":                    nil,
		"good":                    join(wire(fuzzParent, 1, traceparent), wire(fuzzState, 1, "a=1,b=2"), wire(fuzzBaggage, 1, "tier=gold")),
		"empty":                   join(wire(fuzzParent, 1, ""), wire(fuzzState, 1, ""), wire(fuzzBaggage, 1, "")),
		"nil headers":             join(wire(fuzzNil, 200, ""), wire(fuzzParent, 1, traceparent), wire(fuzzNil, 1, "")),
		"duplicate":               join(wire(fuzzParent, 2, traceparent), wire(fuzzParent, 1, other), wire(fuzzBaggage, 9, "a=1")),
		"first malformed":         join(wire(fuzzParent, 1, "00-zz"), wire(fuzzParent, 1, traceparent)),
		"second malformed":        join(wire(fuzzParent, 1, traceparent), wire(fuzzParent, 1, "00-zz")),
		"all zero":                wire(fuzzParent, 1, "00-00000000000000000000000000000000-0000000000000000-00"),
		"zero span":               wire(fuzzParent, 1, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
		"upper-case digits":       wire(fuzzParent, 1, strings.ToUpper(traceparent)),
		"version ff":              wire(fuzzParent, 1, "ff"+traceparent[2:]),
		"version 00 with more":    wire(fuzzParent, 1, traceparent+"-more"),
		"a later version":         wire(fuzzParent, 1, "cc"+traceparent[2:]+"-what the future brings"),
		"unknown flags":           wire(fuzzParent, 1, traceparent[:53]+"ff"),
		"with spaces":             wire(fuzzParent, 1, " "+traceparent+" "),
		"with a newline":          wire(fuzzParent, 1, traceparent+"\n"),
		"cut short":               wire(fuzzParent, 1, traceparent[:54]),
		"binary":                  join(wire(fuzzParent, 1, "\x00\xff\xfe\x01"), wire(fuzzState, 1, "\xff\x00=\xff"), wire(fuzzBaggage, 1, "\x00=\xff;\x80")),
		"oversized":               join(wire(fuzzParent, 1, traceparent+strings.Repeat("-", maxHeader)), wire(fuzzBaggage, 1, "a="+strings.Repeat("1", maxHeader))),
		"too large a later one":   wire(fuzzParent, 1, "cc"+traceparent[2:]+strings.Repeat("-", maxHeader)),
		"state without parent":    join(wire(fuzzState, 1, "a=1"), wire(fuzzBaggage, 1, "a=1")),
		"too many states":         join(wire(fuzzParent, 1, traceparent), wire(fuzzState, 1, strings.Repeat("a=1,", 40))),
		"too many members":        join(wire(fuzzParent, 1, traceparent), wire(fuzzBaggage, 1, strings.Repeat("k=v,", 300))),
		"malformed baggage":       wire(fuzzBaggage, 1, "=,=;%zz,a=%,b=\x7f"),
		"baggage to be escaped":   wire(fuzzBaggage, 1, "a="+strings.Repeat("%00", maxHeader/3-1)),
		"baggage that grows":      wire(fuzzBaggage, 1, "a="+strings.Repeat("%ff", maxHeader/3-1)),
		"another case is foreign": join(wire(fuzzUpper, 1, traceparent), wire(fuzzForeign, 2, "e-1")),
		"names that are binary":   join(wire(fuzzNamed, 1, "\xff\x00"), wire(fuzzNamed, 1, ""), wire(fuzzNamed, 1, "traceparent")),
		"thousands":               join(wire(fuzzForeign, 255, "x"), wire(fuzzParent, 1, traceparent), wire(fuzzParent, 255, other)),
		"several states":          join(wire(fuzzParent, 1, traceparent), wire(fuzzState, 255, "a=1"), wire(fuzzBaggage, 255, "a=1")),
		"thousands malformed":     join(wire(fuzzParent, 255, "00-zz"), wire(fuzzState, 255, "a=1"), wire(fuzzBaggage, 255, "a=1")),
	}
}

// newQuiet returns an instrumentation that remembers no span.
func newQuiet(t testing.TB) *Instrumentation {
	t.Helper()
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "shop", Version: "test", LogWriter: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(t.Context()) })
	inst, err := New(WithTelemetry(tel), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func TestHostileHeaders(t *testing.T) {
	inst := newQuiet(t)
	for name, data := range hostile() {
		t.Run(name, func(t *testing.T) { hop(t, inst, headersOf(data)) })
	}
}

// FuzzHeaders sends any headers through a hop.
func FuzzHeaders(f *testing.F) {
	for _, data := range hostile() {
		f.Add(data)
	}
	inst := newQuiet(f)
	f.Fuzz(func(t *testing.T, data []byte) { hop(t, inst, headersOf(data)) })
}

// TestHugeHeadersAreNotCopied reads a record of many megabytes. A copy of one header would be 4 MiB; what else the process
// allocates meanwhile is another reader's, so the least of a few tries counts.
func TestHugeHeadersAreNotCopied(t *testing.T) {
	inst := newQuiet(t)
	huge := bytes.Repeat([]byte("-"), 4<<20)
	msg := &sarama.ConsumerMessage{Topic: "in"}
	for _, name := range []string{"traceparent", "tracestate", "baggage", "other"} {
		for range 1000 {
			msg.Headers = append(msg.Headers, &sarama.RecordHeader{Key: []byte(name), Value: huge})
		}
	}
	least := uint64(math.MaxUint64)
	for range 10 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		inst.Extract(t.Context(), msg)
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	if least >= uint64(len(huge)) {
		t.Errorf("%d bytes are allocated: a header is copied", least)
	}
}
