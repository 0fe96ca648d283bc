package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

func deadLetterLoop() *Loop[int, string] {
	return &Loop[int, string]{cfg: LoopConfig{Group: group, DeadLetters: banking.DeadLetterTopic}}
}

// Whatever headers a record has, names of a dead letter's own included, they
// come back as they were, and the added ones are found first.
func TestADeadLetterGivesTheOriginalHeadersBack(t *testing.T) {
	names := []string{record.HeaderEventID, record.HeaderResolves}
	for _, h := range (record.Origin{}).Headers() {
		names = append(names, h.Key)
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.SampledFrom(names), rapid.String())
		original := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) record.Header {
			return record.Header{Key: name.Draw(t, "name"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")}
		}), 0, 30).Draw(t, "headers")
		r := record.Record{Place: record.At(source, 2, 42), Key: []byte("k"), Headers: original}
		failure := Reject(ReasonMalformed, errors.New("broken"))
		m := deadLetterLoop().setAside(r, failure)[0]
		origin, carried, err := record.ParseOrigin(record.Record{Headers: m.Headers})
		if diff := cmp.Diff(append([]record.Header{}, original...), append([]record.Header{}, carried.Headers...)); err != nil || diff != "" {
			t.Fatalf("%v: %s", err, diff)
		}
		if origin.Place != r.Place || origin.Group != group || origin.EventID != r.Header(record.HeaderEventID)[:min(1024, len(r.Header(record.HeaderEventID)))] {
			t.Fatalf("the letter says %+v", origin)
		}
	})
}

// Whatever the topic takes, a record of the largest size that its own topic
// takes passes: its letter is cut, what was stored before too, and where there is no
// room at all it is left out, and the partition goes on.
func TestLettersAreCutToWhatTheirTopicTakes(t *testing.T) {
	const largest = kafka.MaxRecordBytes - 200
	for name, tt := range map[string]struct {
		size    string
		letters int
	}{
		"ours":              {strconv.Itoa(kafka.MaxRecordBytes), 3},
		"Kafka's default":   {"1048588", 3},
		"a few KB":          {"3000", 3},
		"the origin's":      {"900", 3},
		"hardly a record's": {"200", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			cfg, client := testkafka.Embedded(t)
			publisher, err := kafka.NewPublisher(t.Context(), cfg, target, banking.TopicOrdersDLQ)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = publisher.Close() }()
			f.deps.Publisher, f.deps.Sizes = publisher, kafka.NewSizes(client)
			f.deps.Sizes.Of(banking.TopicOrdersDLQ) // before the topic changes
			setSize(t, client, tt.size)
			batch := records("a reject", "b reject", "c reject", "d x")
			batch[0].Value = append([]byte("reject "), make([]byte, largest)...)
			batch[1].Headers = append(batch[1].Headers, &sarama.RecordHeader{Key: []byte("h"), Value: make([]byte, largest)})
			batch[2].Key = make([]byte, largest)
			if _, err := f.run(t, t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if f.position(t) != 4 || f.waiting(t) != 0 {
				t.Errorf("the position is %d, %d messages wait", f.position(t), f.waiting(t))
			}
			spans, err := kafka.Bounds(t.Context(), client, banking.TopicOrdersDLQ)
			if err != nil {
				t.Fatal(err)
			}
			var letters atomic.Int64
			if err := kafka.Scan(t.Context(), cfg, spans, func(r record.Record) error {
				letters.Add(1)
				origin, _, err := record.ParseOrigin(r)
				if err != nil || origin.Place.Topic != source || origin.Group != group {
					t.Errorf("a letter says %+v, %v", origin, err)
				}
				return nil
			}); err != nil || int(letters.Load()) != tt.letters {
				t.Errorf("%d letters, %v", letters.Load(), err)
			}
			if logged := fmt.Sprint(f.telemetry.Logs()); tt.letters == 0 && !strings.Contains(logged, "left out") {
				t.Errorf("nobody says that letters were left out:\n%s", logged)
			}
		})
	}
}

func setSize(t *testing.T, client *kafka.Client, size string) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, banking.TopicOrdersDLQ, map[string]sarama.IncrementalAlterConfigsEntry{
		"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &size},
	}, false); err != nil {
		t.Fatal(err)
	}
}

// A result that its topic does not take ends the consumer, which says how that
// is put right: it can neither be cut nor left out.
func TestAResultThatIsTooLargeEndsTheConsumer(t *testing.T) {
	f := newFixture(t)
	f.deps.Publisher = refusing{}
	_, err := f.run(t, t.Context(), records("a x"))
	if !errors.Is(err, kafka.ErrTooLarge) || !strings.Contains(err.Error(), "vigie topics") || f.waiting(t) != 1 {
		t.Errorf("%d messages wait, the worker ended with %v", f.waiting(t), err)
	}
}

type refusing struct{}

func (refusing) PublishAll(context.Context, []*sarama.ProducerMessage) error {
	return fmt.Errorf("%w: %w", kafka.ErrUnacknowledged, &kafka.TooLargeError{Records: []int{0}, Err: sarama.ErrMessageSizeTooLarge})
}

// What the log says of a failed record names its order, and how to see its
// letter once there is one; of a key that is no order's id it repeats nothing.
func TestAFailureNamesItsOrderAndLetter(t *testing.T) {
	transient, away := Transient(ReasonAuthoriser, errors.New("timeout")), errors.New("storage is away")
	for name, test := range map[string]struct {
		key  string
		err  error
		try  int
		want string
	}{
		"a try":            {"order-7", transient, 1, `"order_id":"order-7"}`},
		"the last try":     {"order-7", transient, 3, `"order_id":"order-7","letter":"vigie dlq list --order order-7"}`},
		"it is tried on":   {"order-7", away, 3, `"order_id":"order-7"}`},
		"a hostile key":    {"x; rm -rf /", transient, 3, `"error":"authoriser: timeout"}`},
		"an option":        {"--yes", transient, 3, `"error":"authoriser: timeout"}`},
		"no key":           {"", transient, 3, `"error":"authoriser: timeout"}`},
		"a key with marks": {"ordér", transient, 3, `"error":"authoriser: timeout"}`},
	} {
		var out bytes.Buffer
		l := &Loop[int, int]{}
		l.deps.Log = slog.New(slog.NewJSONHandler(&out, nil))
		l.logOf(record.Record{Key: []byte(test.key)}, test.err, test.try).Warn("record not processed")
		if !strings.HasSuffix(strings.TrimSpace(out.String()), test.want) {
			t.Errorf("%s: %s, want %s", name, out.String(), test.want)
		}
	}
}
