package kafka_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

func on(partition int32, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Partition: partition, Value: sarama.StringEncoder(value)}
}

// scanned is the values that a scan of the topic gives, by partition, and the
// span of partition 0.
func scanned(t *testing.T, cfg kafka.Config, client *kafka.Client) (values string, first kafka.Span) {
	t.Helper()
	spans, err := kafka.Bounds(t.Context(), client, banking.TopicOrdersCreated)
	if err != nil {
		t.Fatal(err)
	}
	first = spans[0]
	var all [banking.Partitions][]string
	if err := kafka.Scan(t.Context(), cfg, spans, func(r record.Record) error {
		all[r.ID] = append(all[r.ID], string(r.Value)) // one goroutine for each partition
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all), first
}

// What a transaction has aborted was never there, what one has not decided yet
// is not there yet, and a log that ends in such things is read to its end at once.
func TestCommittedRecordsAreRead(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	committedRecordsAreRead(t, cfg, client)
}

func committedRecordsAreRead(t *testing.T, cfg kafka.Config, client *kafka.Client) {
	for _, step := range []struct {
		what string
		do   func()
		want string
		end  int64 // of partition 0
		held bool  // whether a record stands in its last two offsets
	}{
		{"nothing", func() {}, "[[] [] []]", 0, false},
		{"committed", func() { testkafka.Begin(t, cfg, on(0, "a"), on(1, "b")).Commit() }, "[[a] [b] []]", 2, true},
		{"aborted", func() { testkafka.Begin(t, cfg, on(0, "x"), on(0, "y"), on(2, "z")).Abort() }, "[[a] [b] []]", 5, false},
		{"committed again", func() { testkafka.Begin(t, cfg, on(0, "c"), on(2, "d")).Commit() }, "[[a c] [b] [d]]", 7, true},
		{"two at a time", func() {
			one, two := testkafka.Begin(t, cfg, on(0, "e")), testkafka.Begin(t, cfg, on(0, "x"))
			one.Commit()
			two.Abort()
		}, "[[a c e] [b] [d]]", 11, false},
		{"one that is open", func() { testkafka.Begin(t, cfg, on(0, "x")) }, "[[a c e] [b] [d]]", 11, false},
		{"and what follows it", func() { testkafka.Begin(t, cfg, on(0, "hidden"), on(1, "f")).Commit() }, "[[a c e] [b f] [d]]", 11, false},
	} {
		step.do()
		got, span := scanned(t, cfg, client)
		// Kafka acknowledges a transaction's end a moment before it writes the markers.
		for deadline := time.Now().Add(time.Minute); (got != step.want || span.End != step.end) && time.Now().Before(deadline); {
			got, span = scanned(t, cfg, client)
		}
		if got != step.want || span.End != step.end {
			t.Errorf("%s: %s up to %d, want %s up to %d", step.what, got, span.End, step.want, step.end)
		}
		span.Start = max(span.Start, span.End-2)
		if held, err := client.Holds(t.Context(), span); err != nil || held != step.held {
			t.Errorf("%s: %d to %d holds a record: %v, %v", step.what, span.Start, span.End, held, err)
		}
	}
}

// Large records are more than one fetch takes; a scan ends with the span, and
// with the first error of its reader.
func TestAScanReadsItsSpan(t *testing.T) {
	cfg, client := testkafka.Embedded(t)
	p, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	const n = 12
	for i := range n {
		m := &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder("one"), Value: sarama.StringEncoder(strings.Repeat("v", i*100_000))}
		if err := p.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	spans, err := kafka.Bounds(t.Context(), client, banking.TopicOrdersCreated)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range spans {
		spans[i].Start, spans[i].End = min(s.End, 3), max(0, s.End-2)
	}
	next := int64(3)
	if err := kafka.Scan(t.Context(), cfg, spans, func(r record.Record) error {
		if r.Offset != next || len(r.Value) != int(next)*100_000 {
			t.Errorf("offset %d with %d bytes, want %d", r.Offset, len(r.Value), next)
		}
		next++
		return nil
	}); err != nil || next != n-2 {
		t.Errorf("read up to %d: %v", next, err)
	}
	wrong := errors.New("wrong")
	if err := kafka.Scan(t.Context(), cfg, spans, func(record.Record) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("a reader that fails: %v", err)
	}
	beyond := kafka.Span{Partition: record.Partition{Topic: banking.TopicOrdersCreated}, Start: n, End: n + 1}
	cfg.Patience = 1
	if err := kafka.Scan(t.Context(), cfg, []kafka.Span{beyond}, func(record.Record) error { return nil }); err == nil {
		t.Error("a span beyond the log's end is said to have been read")
	}
}
