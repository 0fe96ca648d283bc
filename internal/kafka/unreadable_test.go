package kafka_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// A batch of which nothing can be made ends a scan at once, by name, with all
// before it read: waiting does not make it better.
func TestABatchThatCannotBeReadEndsAScan(t *testing.T) {
	for kind, batch := range testkafka.Unreadable(t) {
		t.Run(kind, func(t *testing.T) {
			cfg, client := testkafka.Credulous(t)
			testkafka.Begin(t, cfg, on(0, "a"), on(0, "b"), on(1, "c")).Commit() // with a marker
			testkafka.Put(t, cfg, banking.TopicOrdersCreated, 0, batch)
			testkafka.Begin(t, cfg, on(0, "d")).Commit()
			after := int64(4)
			if kind == "count" {
				after = 8
			}
			spans, err := kafka.Bounds(t.Context(), client, banking.TopicOrdersCreated)
			if err != nil {
				t.Fatal(err)
			}
			read := ""
			err = kafka.Scan(t.Context(), cfg, spans[:1], func(r record.Record) error { read += string(r.Value); return nil })
			unreadable, ok := errors.AsType[*kafka.UnreadableError](err)
			if !ok || !errors.Is(err, kafka.ErrUnreadable) || read != "ab" {
				t.Fatalf("read %q, then %v", read, err)
			}
			if want := (record.Place{Partition: spans[0].Partition, Offset: 3}); unreadable.Place != want || unreadable.Next != after {
				t.Errorf("%v up to %d, want %v up to %d", unreadable.Place, unreadable.Next, want, after)
			}
			if kind == "bomb" && !errors.Is(err, sarama.ErrDecompressedBatchTooLarge) {
				t.Errorf("a bomb is %v", err)
			}
			spans[0].Start = after
			read = ""
			var mu sync.Mutex
			if err := kafka.Scan(t.Context(), cfg, spans, func(r record.Record) error {
				mu.Lock()
				defer mu.Unlock()
				read += fmt.Sprint(r.ID) + string(r.Value)
				return nil
			}); err != nil || len(read) != 4 {
				t.Errorf("behind it %q is read, %v", read, err)
			}
		})
	}
}
