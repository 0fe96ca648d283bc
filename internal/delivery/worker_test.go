package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

func TestABatchIsStoredPublishedMarkedAndCounted(t *testing.T) {
	f := newFixture(t)
	marks, err := f.run(t, t.Context(), records("a ok", "b ok", "c ok"))
	if err != nil || fmt.Sprint(marks) != "[3]" {
		t.Errorf("run = %v, marks %v", err, marks)
	}
	if f.position(t) != 3 || f.waiting(t) != 0 || fmt.Sprint(f.handler.stored) != "[a b c]" {
		t.Errorf("position %d, outbox %d, stored %v", f.position(t), f.waiting(t), f.handler.stored)
	}
	if len(f.publisher.published) != 3 {
		t.Fatalf("%d messages published", len(f.publisher.published))
	}
	processed := map[string]bool{}
	for _, s := range f.telemetry.Spans() {
		if s.Name == "process "+source {
			processed[s.SpanContext.SpanID().String()] = true
			if s.Parent.SpanID().String() != "b7ad6b7169203331" || s.Status.Code == codes.Error {
				t.Errorf("process span with parent %s, status %v", s.Parent.SpanID(), s.Status)
			}
		}
	}
	for _, m := range f.publisher.published {
		parts := strings.Split(producerHeader(m, "traceparent"), "-")
		if len(parts) != 4 || parts[1] != "0af7651916cd43dd8448eb211c80319c" || !processed[parts[2]] {
			t.Errorf("outgoing context %v is not a process span's", parts)
		}
	}
	for _, name := range []string{"store " + source, "publish"} {
		if got := f.batches(name); got != "3 links: a b c" {
			t.Errorf("batches %q: %s", name, got)
		}
	}
	topic := map[string]string{"topic": source}
	if got := f.telemetry.Metric("kafka_messages_consumed_total", topic); got != 3 {
		t.Errorf("consumed %v", got)
	}
	if got := f.telemetry.Metric("kafka_message_processing_duration_seconds", topic); got != 3 {
		t.Errorf("measured %v durations", got)
	}
	if got := f.telemetry.Metric("kafka_messages_produced_total", map[string]string{"topic": target}); got != 3 {
		t.Errorf("produced %v", got)
	}
}

// A probe goes the way of all records, and counts nowhere.
func TestAProbeIsNotCounted(t *testing.T) {
	f := newFixture(t)
	batch := records("a ok", "b ok", "c reject")
	for _, m := range batch[1:] {
		m.Key = []byte(banking.NewProbeID(0))
	}
	if _, err := f.run(t, t.Context(), batch); err != nil {
		t.Error(err)
	}
	topic := map[string]string{"topic": source}
	for _, metric := range []string{"kafka_messages_consumed_total", "kafka_message_processing_duration_seconds"} {
		if got := f.telemetry.Metric(metric, topic); got != 1 {
			t.Errorf("%s: %v, want 1", metric, got)
		}
	}
	for _, metric := range []string{"kafka_messages_failed_total", "kafka_dead_letters_total"} {
		if got := f.telemetry.Metric(metric, topic); got != 0 {
			t.Errorf("%s: %v, want 0", metric, got)
		}
	}
	if f.position(t) != 3 {
		t.Errorf("position %d", f.position(t))
	}
}

// What a failure leads to, class by class.
func TestFailureClasses(t *testing.T) {
	for name, tt := range map[string]struct {
		value                          string
		tries, published, deadLettered int
		failed, duplicates             float64
		reason                         string
		spanFails                      bool
		level                          string
	}{
		"duplicate":  {value: "duplicate", tries: 1, duplicates: 1, level: "DEBUG"},
		"reject":     {value: "reject", tries: 1, deadLettered: 1, failed: 1, reason: "malformed", spanFails: true, level: "WARN"},
		"transient":  {value: "transient", tries: 3, deadLettered: 1, failed: 1, reason: "authoriser", spanFails: true, level: "WARN"},
		"second try": {value: "second-try", tries: 2, published: 1, spanFails: true, level: "WARN"},
		"retry":      {value: "away", tries: 2, published: 1, spanFails: true, level: "WARN"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			marks, err := f.run(t, t.Context(), records("a "+tt.value, "b ok"))
			if err != nil || fmt.Sprint(marks) != "[2]" || f.position(t) != 2 || f.waiting(t) != 0 {
				t.Errorf("run = %v, marks %v, position %d, outbox %d", err, marks, f.position(t), f.waiting(t))
			}
			if f.handler.tries["a"] != tt.tries {
				t.Errorf("%d tries, want %d", f.handler.tries["a"], tt.tries)
			}
			var results, dead []*sarama.ProducerMessage
			for _, m := range f.publisher.published {
				switch {
				case m.Topic == banking.TopicOrdersDLQ:
					dead = append(dead, m)
				case keyOf(m) == "a":
					results = append(results, m)
				}
			}
			if len(results) != tt.published || len(dead) != tt.deadLettered {
				t.Errorf("%d results and %d dead letters", len(results), len(dead))
			}
			if got := f.telemetry.Metric("kafka_duplicates_total", map[string]string{"topic": source}); got != tt.duplicates {
				t.Errorf("duplicates %v", got)
			}
			if tt.reason != "" {
				labels := map[string]string{"topic": source, "reason": tt.reason}
				failed, set := f.telemetry.Metric("kafka_messages_failed_total", labels), f.telemetry.Metric("kafka_dead_letters_total", labels)
				if failed != tt.failed || set != tt.failed {
					t.Errorf("failed %v, dead letters %v", failed, set)
				}
				assertDeadLetter(t, dead[0], tt.reason, tt.tries)
			}
			f.assertSpans(t, tt.tries)
			f.assertSpanAndLog(t, tt.spanFails, tt.level)
		})
	}
}

func assertDeadLetter(t *testing.T, m *sarama.ProducerMessage, reason string, tries int) {
	t.Helper()
	for name, want := range map[string]string{
		record.HeaderEventID: "event-a", record.HeaderOriginalEventID: "event-a", record.HeaderOriginalTopic: source,
		record.HeaderOriginalPartition: "0", record.HeaderOriginalOffset: "0", record.HeaderConsumerGroup: group,
		record.HeaderAttempts: fmt.Sprint(tries), record.HeaderErrorReason: reason,
	} {
		if got := producerHeader(m, name); got != want {
			t.Errorf("dead letter's %s = %q, want %q", name, got, want)
		}
	}
	if producerHeader(m, record.HeaderErrorMessage) == "" || producerHeader(m, record.HeaderErrorClass) == "" || keyOf(m) != "a" {
		t.Errorf("dead letter %v", m.Headers)
	}
	if _, err := time.Parse(time.RFC3339Nano, producerHeader(m, record.HeaderFailedAt)); err != nil {
		t.Error(err)
	}
}

// assertSpans: each try has a span of its own, a child of the record's context.
func (f *fixture) assertSpans(t *testing.T, tries int) {
	t.Helper()
	n := 0
	for _, s := range f.telemetry.Spans() {
		if s.Name == "process "+source && s.Parent.SpanID().String() == "b7ad6b7169203331" {
			n++
		}
	}
	if n != tries+1 { // and one for record b
		t.Errorf("%d process spans for %d tries and one more record", n, tries)
	}
}

// assertSpanAndLog looks at what was said about record a.
func (f *fixture) assertSpanAndLog(t *testing.T, spanFails bool, level string) {
	t.Helper()
	failed := false
	for _, s := range f.telemetry.Spans() {
		if s.Name == "process "+source && s.Status.Code == codes.Error {
			failed = true
		}
	}
	if failed != spanFails {
		t.Errorf("a process span failed: %v, want %v", failed, spanFails)
	}
	for _, line := range f.telemetry.Logs() {
		if line["level"] == level && line["trace_id"] == "0af7651916cd43dd8448eb211c80319c" {
			return
		}
	}
	t.Errorf("no %s line with the record's trace in %v", level, f.telemetry.Logs())
}

func TestARecordThatBelongsToNoDeadLettersIsPassedOver(t *testing.T) {
	f := newFixture(t)
	f.cfg.DeadLetters = func(string) string { return "" }
	if _, err := f.run(t, t.Context(), records("a reject", "b ok")); err != nil || f.position(t) != 2 {
		t.Errorf("run = %v, position %d", err, f.position(t))
	}
	labels := map[string]string{"topic": source, "reason": "malformed"}
	if failed, set := f.telemetry.Metric("kafka_messages_failed_total", labels), f.telemetry.Metric("kafka_dead_letters_total", labels); failed != 1 || set != 0 {
		t.Errorf("failed %v, dead letters %v", failed, set)
	}
}

// A stranger's record may say that it was written in any century: what is set
// aside is no clock, or nothing would be pruned until then.
func TestWhatIsSetAsideTellsNoTime(t *testing.T) {
	f := newFixture(t)
	batch := records("a ok", "b reject")
	want := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	batch[0].Timestamp, batch[1].Timestamp = want, want.AddDate(74, 0, 0)
	if _, err := f.run(t, t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if newest, err := f.store.Newest(t.Context()); err != nil || !newest.Equal(want) {
		t.Errorf("newest %v, %v, want %v", newest, err, want)
	}
}

// What was published leaves the outbox with the next batch's transaction, also where
// that batch comes a moment later; where none comes, soon.
func TestAPublishedBatchIsMarkedWithTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, queue := newFixture(t), make(chan *sarama.ConsumerMessage)
		w := &worker[int, string]{
			loop: &Loop[int, string]{cfg: f.cfg, deps: f.deps, handler: f.handler}, partition: f.partition, grace: time.Minute, published: -1,
			commit: func(int64) {},
		}
		before, ended := f.store.Commits(), make(chan error)
		go func() { ended <- w.run(t.Context(), queue) }()
		for _, m := range records("a ok", "b ok", "c ok") {
			<-time.After(markAfter / 2)
			queue <- m
		}
		<-time.After(2 * markAfter) // nobody sends more, and the claim goes on
		if commits := f.store.Commits() - before; commits != 4 || f.waiting(t) != 0 {
			t.Errorf("%d commits for three batches, %d messages wait; want 4, the last of which marks, and none", commits, f.waiting(t))
		}
		close(queue)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// What no database can hold is set aside; the records around it are stored,
// and nothing waits for it.
func TestARecordThatCannotBeStoredIsSetAside(t *testing.T) {
	f := newFixture(t)
	f.handler.refused, f.handler.refusal = "b", fmt.Errorf("amount: %w", storage.ErrOutOfRange)
	marks, err := f.run(t, t.Context(), records("a ok", "b ok", "c ok", "b ok"))
	if err != nil || f.position(t) != 4 || f.waiting(t) != 0 || fmt.Sprint(f.handler.stored) != "[a c]" {
		t.Errorf("run = %v, marks %v, position %d, outbox %d, stored %v", err, marks, f.position(t), f.waiting(t), f.handler.stored)
	}
	var published []string
	for _, m := range f.publisher.published {
		published = append(published, m.Topic+" "+keyOf(m))
		if m.Topic == banking.TopicOrdersDLQ && producerHeader(m, record.HeaderErrorClass) != "reject" {
			t.Errorf("the letter's class is %q", producerHeader(m, record.HeaderErrorClass))
		}
	}
	if fmt.Sprint(published) != fmt.Sprintf("[%[1]s a %[2]s b %[1]s c %[2]s b]", target, banking.TopicOrdersDLQ) {
		t.Errorf("published %v", published)
	}
	labels := map[string]string{"topic": source, "reason": "out_of_range"}
	if failed, set := f.telemetry.Metric("kafka_messages_failed_total", labels), f.telemetry.Metric("kafka_dead_letters_total", labels); failed != 2 || set != 2 {
		t.Errorf("failed %v, dead letters %v", failed, set)
	}
	if got := f.telemetry.Metric("kafka_messages_consumed_total", map[string]string{"topic": source}); got != 4 {
		t.Errorf("consumed %v", got)
	}
	f.assertSpanAndLog(t, true, "WARN")
}

// A handler may set an earlier record aside with the one that it takes: that
// counts as if it had been set aside when it came.
func TestAnEarlierRecordIsSetAside(t *testing.T) {
	f := newFixture(t)
	if _, err := f.run(t, t.Context(), records("a another", "b ok")); err != nil || fmt.Sprint(f.handler.stored) != "[a b]" {
		t.Errorf("run = %v, stored %v", err, f.handler.stored)
	}
	m := f.publisher.published[0]
	if m.Topic != banking.TopicPaymentsDLQ || producerHeader(m, record.HeaderOriginalOffset) != "5" || producerHeader(m, record.HeaderErrorReason) != "contradictory" ||
		producerHeader(m, record.HeaderConsumerGroup) != group || producerHeader(m, record.HeaderAttempts) != "1" {
		t.Errorf("published to %s with %v", m.Topic, m.Headers)
	}
	labels := map[string]string{"topic": banking.TopicPaymentsRejected, "reason": "contradictory"}
	if failed, set := f.telemetry.Metric("kafka_messages_failed_total", labels), f.telemetry.Metric("kafka_dead_letters_total", labels); failed != 1 || set != 1 {
		t.Errorf("failed %v, dead letters %v", failed, set)
	}
}

// Waiting does not fix a damaged database: the worker ends with the reason.
func TestADamagedStorageEndsTheWorker(t *testing.T) {
	f := newFixture(t)
	f.handler.refused, f.handler.refusal = "b", fmt.Errorf("%w: clerk.db", storage.ErrDamaged)
	marks, err := f.run(t, t.Context(), records("a ok", "b ok"))
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "clerk.db") || len(marks) != 0 || f.position(t) != 0 {
		t.Errorf("run = %v, marks %v, position %d", err, marks, f.position(t))
	}
}

// Another owner has moved the partition on: nothing changes.
func TestAFencedWorkerChangesNothing(t *testing.T) {
	f := newFixture(t)
	f.handler.during = func(record.Record) {
		if err := f.store.Update(context.Background(), func(tx *storage.Tx) error {
			return tx.Advance(context.Background(), f.partition, 0, 7, time.Time{})
		}); err != nil {
			t.Error(err)
		}
	}
	marks, err := f.run(t, t.Context(), records("a ok"))
	if !errors.Is(err, storage.ErrFenced) || len(marks) != 0 {
		t.Errorf("run = %v, marks %v; want ErrFenced", err, marks)
	}
	if f.position(t) != 7 || f.waiting(t) != 0 || len(f.publisher.published) != 0 || len(f.handler.stored) != 0 {
		t.Errorf("position %d, outbox %d, published %d, stored %v", f.position(t), f.waiting(t), len(f.publisher.published), f.handler.stored)
	}
}

// Kafka is away when the batch should be published, and the session ends: the
// next owner publishes the same messages, once, before anything else.
func TestTheNextOwnerPublishesWhatWasLeft(t *testing.T) {
	f := newFixture(t)
	f.publisher.fail = 1 << 30
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	marks, err := f.run(t, session, records("a ok"))
	if err != nil || len(marks) != 0 {
		t.Errorf("run = %v, marks %v", err, marks)
	}
	if f.position(t) != 1 || f.waiting(t) != 1 {
		t.Fatalf("position %d, outbox %d; want the batch stored and waiting", f.position(t), f.waiting(t))
	}
	f.publisher.fail = 1 // one more failure, then Kafka is back
	f.handler.during = nil
	if _, err := f.run(t, t.Context(), records("a ok", "b ok")); err != nil {
		t.Fatal(err)
	}
	if f.waiting(t) != 0 || len(f.publisher.published) != 2 || producerHeader(f.publisher.published[0], record.HeaderEventID) != "result-a" {
		t.Errorf("outbox %d, published %d", f.waiting(t), len(f.publisher.published))
	}
	if f.handler.tries["a"] != 1 {
		t.Errorf("record a was handled %d times", f.handler.tries["a"])
	}
}

// A session that ends while a batch is being handled lets it finish.
func TestABatchUnderWayIsFinished(t *testing.T) {
	f := newFixture(t)
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	marks, err := f.run(t, session, records("a ok", "a ok")) // one key: two batches
	if err != nil || fmt.Sprint(marks) != "[1]" || f.position(t) != 1 || len(f.publisher.published) != 1 {
		t.Errorf("run = %v, marks %v, position %d, published %d", err, marks, f.position(t), len(f.publisher.published))
	}
}

// A session that ends while a record waits to be tried again leaves the batch
// as it was.
func TestAnEndedSessionLeavesAWaitingBatchUntouched(t *testing.T) {
	f := newFixture(t)
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	marks, err := f.run(t, session, records("a away"))
	if err != nil || len(marks) != 0 || f.position(t) != 0 || f.waiting(t) != 0 {
		t.Errorf("run = %v, marks %v, position %d, outbox %d", err, marks, f.position(t), f.waiting(t))
	}
}

func TestBatchesHoldEachKeyOnce(t *testing.T) {
	queue := make(chan *sarama.ConsumerMessage, 16)
	for _, m := range records("a 1", "b 2", "a 3", "a 4", "c 5", "d 6", "e 7") {
		queue <- m
	}
	close(queue)
	b := batcher{messages: queue, limit: 3}
	var got []string
	for b.wait(t.Context(), nil) {
		var keys []string
		for _, m := range b.take(t.Context()) {
			keys = append(keys, string(m.Key)+string(m.Value))
		}
		got = append(got, strings.Join(keys, ","))
	}
	if fmt.Sprint(got) != "[a1,b2 a3 a4,c5,d6 e7]" {
		t.Errorf("batches %v", got)
	}
}

// What is stored and what is published appears in the traces of the records that
// it was done for, and no others.
func TestBatchSpansNameTheirRecords(t *testing.T) {
	for name, tt := range map[string]struct {
		records        []string
		store, publish string
	}{
		"results and dead letters": {[]string{"a ok", "b reject"}, "2 links: a b", "2 links: a b"},
		"a duplicate":              {[]string{"a ok", "b duplicate"}, "2 links: a b", "1 links: a"},
		"nothing to publish":       {[]string{"a duplicate"}, "1 links: a", ""},
		"the try that counts":      {[]string{"a second-try"}, "1 links: a", "1 links: a"},
		"two batches":              {[]string{"a ok", "a duplicate"}, "1 links: a; 1 links: a", "1 links: a"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if _, err := f.run(t, t.Context(), records(tt.records...)); err != nil {
				t.Fatal(err)
			}
			if store, publish := f.batches("store "+source), f.batches("publish"); store != tt.store || publish != tt.publish {
				t.Errorf("stored %q, published %q; want %q and %q", store, publish, tt.store, tt.publish)
			}
		})
	}
}

// A transaction that did not happen, and messages that did not get out, fail
// their spans; the next owner's publish appears in the same traces.
func TestBatchSpansThatFail(t *testing.T) {
	f := newFixture(t)
	f.handler.during = func(record.Record) {
		if err := f.store.Update(context.Background(), func(tx *storage.Tx) error {
			return tx.Advance(context.Background(), f.partition, 0, 7, time.Time{})
		}); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.run(t, t.Context(), records("a ok")); !errors.Is(err, storage.ErrFenced) {
		t.Fatal(err)
	}
	if got := f.batches("store " + source); got != "1 links: a failed" {
		t.Errorf("stored %q", got)
	}

	f = newFixture(t)
	f.publisher.fail = 1 << 30
	session, end := context.WithCancel(t.Context())
	f.handler.during = func(record.Record) { end() }
	if _, err := f.run(t, session, records("a ok", "b ok")); err != nil {
		t.Fatal(err)
	}
	f.publisher.fail = 0
	if _, err := f.run(t, t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if store, publish := f.batches("store "+source), f.batches("publish"); store != "2 links: a b" || publish != "2 links: a b failed; 2 links: a b" {
		t.Errorf("stored %q, published %q", store, publish)
	}
}

// batches says, for each batch span of a name, how many links it has, whether
// it failed, and the keys of the records in whose traces it appears.
func (f *fixture) batches(name string) string {
	keys := map[trace.SpanID]string{} // of process spans
	var roots, echoes []tracetest.SpanStub
	for _, s := range f.telemetry.Spans() {
		switch {
		case s.Name == "process "+source:
			keys[s.SpanContext.SpanID()] = attributeOf(s, "messaging.kafka.message.key")
		case s.Name == name && s.Parent.IsValid():
			echoes = append(echoes, s)
		case s.Name == name:
			roots = append(roots, s)
		}
	}
	var out []string
	for _, root := range roots {
		var seen []string
		for _, echo := range echoes {
			if echo.Links[0].SpanContext.SpanID() == root.SpanContext.SpanID() && echo.Status == root.Status {
				seen = append(seen, keys[echo.Parent.SpanID()])
			}
		}
		slices.Sort(seen)
		text := fmt.Sprintf("%d links: %s", len(root.Links), strings.Join(seen, " "))
		if root.Status.Code == codes.Error {
			text += " failed"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func attributeOf(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}
