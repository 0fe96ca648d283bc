package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// ErrNoTopic: a dead-letter topic does not exist.
var ErrNoTopic = errors.New("no such topic")

// Source is the cluster whose dead letters are meant.
type Source struct {
	Kafka  kafka.Config
	Client sarama.Client // of that cluster; for the topics and their bounds
}

// Progress is told how much of the work is done. It is called by one goroutine
// at a time; done never goes back.
type Progress func(done, total int64)

// Listing is what a filter chose.
type Listing struct {
	// Letters are sorted by age, the oldest first. Their texts are cut to a
	// few hundred bytes.
	Letters []Letter
	// Hidden is how many resolved letters Filter.Open left out.
	Hidden int
}

// List reads the dead-letter topics from their start to the end that they have
// now, and returns the letters that the filter chooses. It holds the letters'
// descriptions, not their records. progress may be nil; it counts records.
func (s Source) List(ctx context.Context, f Filter, progress Progress) (Listing, error) {
	spans, err := s.bounds(f.topics())
	if err != nil {
		return Listing{}, err
	}
	l := listing{matcher: newMatcher(f), resolved: map[record.Place]Resolution{}, step: stepper(progress, length(spans))}
	if err := kafka.Scan(ctx, s.Kafka, spans, l.add); err != nil {
		return Listing{}, fmt.Errorf("read dead letters: %w", err)
	}
	return l.result(), nil
}

// bounds returns what the topics hold. A topic is looked up before it is asked
// for, since asking can create it.
func (s Source) bounds(topics []string) ([]kafka.Span, error) {
	existing, err := s.Client.Topics()
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if !slices.Contains(existing, t) {
			return nil, fmt.Errorf("%w: %s", ErrNoTopic, t)
		}
	}
	return kafka.Bounds(s.Client, topics...)
}

// listing collects letters, which arrive from several partitions at once.
type listing struct {
	matcher  matcher
	mu       sync.Mutex
	letters  []Letter
	resolved map[record.Place]Resolution
	step     func()
}

func (l *listing) add(r record.Record) error {
	of, what, marker := parseMarker(r)
	var letter Letter
	chosen := false
	if !marker {
		letter = parseLetter(r).Letter
		chosen = l.matcher.matches(letter)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case marker && l.resolved[of].At.Before(what.At): // a later one has the last word
		l.resolved[of] = what
	case chosen:
		l.letters = append(l.letters, letter.brief())
	}
	l.step()
	return nil
}

func (l *listing) result() Listing {
	var out Listing
	for _, letter := range l.letters {
		letter.Resolution = l.resolved[letter.ID]
		if l.matcher.Open && letter.Resolved() {
			out.Hidden++
			continue
		}
		out.Letters = append(out.Letters, letter)
	}
	slices.SortFunc(out.Letters, func(a, b Letter) int {
		return cmp.Or(a.FailedAt.Compare(b.FailedAt), strings.Compare(a.ID.Topic, b.ID.Topic),
			cmp.Compare(a.ID.Partition.ID, b.ID.Partition.ID), cmp.Compare(a.ID.Offset, b.ID.Offset))
	})
	return out
}
