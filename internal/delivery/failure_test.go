package delivery

import (
	"errors"
	"testing"

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
		m := deadLetterLoop().setAside(r, failure, ClassOf(failure).consequences())[0]
		origin, carried, err := record.ParseOrigin(record.Record{Headers: m.Headers})
		if diff := cmp.Diff(append([]record.Header{}, original...), append([]record.Header{}, carried.Headers...)); err != nil || diff != "" {
			t.Fatalf("%v: %s", err, diff)
		}
		if origin.Place != r.Place || origin.Group != group || origin.EventID != r.Header(record.HeaderEventID)[:min(1024, len(r.Header(record.HeaderEventID)))] {
			t.Fatalf("the letter says %+v", origin)
		}
	})
}

// The largest record that a topic takes still fits among the dead letters with
// everything that is added to it.
func TestTheLargestRecordFitsAmongTheDeadLetters(t *testing.T) {
	cfg, _ := testkafka.Embedded(t)
	p, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	l := deadLetterLoop()
	for name, r := range map[string]record.Record{
		"value":   {Value: make([]byte, kafka.MaxRecordBytes-200)},
		"headers": {Headers: []record.Header{{Key: "h", Value: make([]byte, kafka.MaxRecordBytes-200)}}},
	} {
		r.Topic, r.Key = source, []byte("k")
		if err := p.Publish(t.Context(), kafka.Outgoing(record.Message{Topic: source, Key: r.Key, Value: r.Value, Headers: r.Headers})); err != nil {
			t.Fatalf("large %s: the source topic refuses it: %v", name, err)
		}
		letters := l.setAside(r, Reject(ReasonOversized, errors.New("too large")), ClassReject.consequences())
		if len(letters) != 1 {
			t.Fatalf("large %s: %d letters", name, len(letters))
		}
		if err := p.Publish(t.Context(), kafka.Outgoing(letters[0])); err != nil {
			t.Errorf("large %s: its dead letter is refused: %v", name, err)
		}
		if _, _, err := record.ParseOrigin(record.Record{Headers: letters[0].Headers}); err != nil {
			t.Errorf("large %s: the dead letter cannot be read: %v", name, err)
		}
	}
}
