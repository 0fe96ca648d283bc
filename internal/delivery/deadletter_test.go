package delivery

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

func deadLetterLoop() *Loop[int, string] {
	return &Loop[int, string]{cfg: LoopConfig{Group: group, DeadLetters: banking.DeadLetterTopic}}
}

// Whatever headers a record has, names of a dead letter's own included, they
// come back as they were, and the added ones are found first.
func TestADeadLetterGivesTheOriginalHeadersBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.SampledFrom(append(record.DeadLetterHeaders(), record.HeaderEventID, record.HeaderResolves)), rapid.String())
		original := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) record.Header {
			return record.Header{Key: name.Draw(t, "name"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")}
		}), 0, 30).Draw(t, "headers")
		r := record.Record{Partition: record.Partition{Topic: source, ID: 2}, Offset: 42, Key: []byte("k"), Headers: original}
		failure := Reject(ReasonMalformed, errors.New("broken"))
		m := deadLetterLoop().setAside(r, failure, ClassOf(failure).consequences())[0]
		added, restored, ok := record.SplitDeadLetter(m.Headers)
		if diff := cmp.Diff(append([]record.Header{}, original...), append([]record.Header{}, restored...)); !ok || diff != "" {
			t.Fatalf("split %v: %s", ok, diff)
		}
		letter := record.Record{Headers: m.Headers}
		if len(added) != len(record.DeadLetterHeaders()) || letter.Header(record.HeaderOriginalTopic) != source || letter.Header(record.HeaderConsumerGroup) != group {
			t.Fatalf("the letter says it is from %q, set aside by %q", letter.Header(record.HeaderOriginalTopic), letter.Header(record.HeaderConsumerGroup))
		}
	})
}

func TestWhatWasNotSetAsideIsNotSplit(t *testing.T) {
	for name, headers := range map[string][]record.Header{
		"none":           nil,
		"too few":        {{Key: record.HeaderOriginalEventID}, {Key: record.HeaderOriginalTopic}},
		"another first":  append([]record.Header{{Key: "x"}}, named(record.DeadLetterHeaders())...),
		"another inside": named(append([]string{record.HeaderOriginalEventID, "x"}, record.DeadLetterHeaders()[1:]...)),
	} {
		if added, original, ok := record.SplitDeadLetter(headers); ok || added != nil || original != nil {
			t.Errorf("%s: %v, %v, %v", name, added, original, ok)
		}
	}
}

// A record cannot make its dead letter much larger than itself.
func TestAddedHeadersAreBounded(t *testing.T) {
	r := record.Record{
		Partition: record.Partition{Topic: source},
		Headers:   []record.Header{{Key: record.HeaderEventID, Value: []byte(strings.Repeat("x", 1<<20))}},
	}
	failure := Reject(ReasonMalformed, errors.New(strings.Repeat("y", 1<<20)))
	added, _, _ := record.SplitDeadLetter(deadLetterLoop().setAside(r, failure, ClassOf(failure).consequences())[0].Headers)
	size := 0
	for _, h := range added {
		size += len(h.Key) + len(h.Value)
	}
	if size < 2*maxAdded || size > 3*maxAdded {
		t.Errorf("%d bytes were added", size)
	}
}

func named(names []string) []record.Header {
	out := make([]record.Header, len(names))
	for i, n := range names {
		out[i].Key = n
	}
	return out
}
