package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/services/internal/banking"
	"github.com/vigie-dev/vigie/services/internal/storage"
)

func deadLetterLoop() *Loop[int, string] {
	return &Loop[int, string]{cfg: LoopConfig{Group: group, DeadLetters: banking.DeadLetterTopic}}
}

// Whatever headers a record has, names of a dead letter's own included, they
// come back as they were, and the added ones are found first.
func TestADeadLetterGivesTheOriginalHeadersBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.SampledFrom(append(deadLetterHeaders(), banking.HeaderEventID, HeaderResolves)), rapid.String())
		original := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) storage.Header {
			return storage.Header{Key: name.Draw(t, "name"), Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value")}
		}), 0, 30).Draw(t, "headers")
		r := Record{Partition: storage.Partition{Topic: source, ID: 2}, Offset: 42, Key: []byte("k"), Headers: original}
		failure := Reject(ReasonMalformed, errors.New("broken"))
		m := deadLetterLoop().setAside(r, failure, ClassOf(failure).consequences())[0]
		added, restored, ok := SplitDeadLetter(m.Headers)
		if diff := cmp.Diff(append([]storage.Header{}, original...), append([]storage.Header{}, restored...)); !ok || diff != "" {
			t.Fatalf("split %v: %s", ok, diff)
		}
		letter := Record{Headers: m.Headers}
		if len(added) != len(deadLetterHeaders()) || letter.Header(HeaderOriginalTopic) != source || letter.Header(HeaderConsumerGroup) != group {
			t.Fatalf("the letter says it is from %q, set aside by %q", letter.Header(HeaderOriginalTopic), letter.Header(HeaderConsumerGroup))
		}
	})
}

func TestWhatWasNotSetAsideIsNotSplit(t *testing.T) {
	for name, headers := range map[string][]storage.Header{
		"none":           nil,
		"too few":        {{Key: banking.HeaderOriginalEventID}, {Key: HeaderOriginalTopic}},
		"another first":  append([]storage.Header{{Key: "x"}}, named(deadLetterHeaders())...),
		"another inside": named(append([]string{banking.HeaderOriginalEventID, "x"}, deadLetterHeaders()[1:]...)),
	} {
		if added, original, ok := SplitDeadLetter(headers); ok || added != nil || original != nil {
			t.Errorf("%s: %v, %v, %v", name, added, original, ok)
		}
	}
}

// A record cannot make its dead letter much larger than itself.
func TestAddedHeadersAreBounded(t *testing.T) {
	r := Record{
		Partition: storage.Partition{Topic: source},
		Headers:   []storage.Header{{Key: banking.HeaderEventID, Value: []byte(strings.Repeat("x", 1<<20))}},
	}
	failure := Reject(ReasonMalformed, errors.New(strings.Repeat("y", 1<<20)))
	added, _, _ := SplitDeadLetter(deadLetterLoop().setAside(r, failure, ClassOf(failure).consequences())[0].Headers)
	size := 0
	for _, h := range added {
		size += len(h.Key) + len(h.Value)
	}
	if size < 2*maxAdded || size > 3*maxAdded {
		t.Errorf("%d bytes were added", size)
	}
}

func named(names []string) []storage.Header {
	out := make([]storage.Header, len(names))
	for i, n := range names {
		out[i].Key = n
	}
	return out
}
