package traces

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/deadletters"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

const (
	// MaxFacts bounds what is read of one order, whose key anybody may send.
	MaxFacts = 500
	// margin is how far the clocks of services and brokers may disagree, and
	// how long a record may take to be written.
	margin = time.Minute
)

// Source is the cluster that the order's records are in.
type Source struct {
	Kafka  kafka.Config
	Client sarama.Client // of that cluster
	// Progress is told how many offsets of all have been passed; nil is fine.
	// It is called by one goroutine at a time.
	Progress func(done, total int64)
}

// Window is when an order's records were written, as far as is known: the
// first not before From, the last not after Until. A zero time bounds nothing.
type Window struct{ From, Until time.Time }

// Facts reads the partitions that hold the order's records, those of its key,
// and returns what its records say in the order of their times. What the
// window leaves out is not read; but dead letters, and what is done with them,
// may come at any time later, and widen it.
func (s Source) Facts(ctx context.Context, order string, w Window) ([]Fact, error) {
	r := reading{order: order, progress: s.Progress}
	letters, err := s.spans(order, w.From, deadletters.Topics())
	if err != nil {
		return nil, err
	}
	rest, err := s.spans(order, w.From, eventTopics())
	if err != nil {
		return nil, err
	}
	r.total = length(letters) + length(rest)
	if w.Until.IsZero() {
		rest = append(rest, letters...)
	} else {
		if err := kafka.Scan(ctx, s.Kafka, letters, r.add); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		until := w.Until
		for _, f := range r.facts {
			until = later(until, f.Time)
		}
		if err := s.cut(rest, until.Add(margin)); err != nil {
			return nil, err
		}
		r.total = r.done + length(rest)
	}
	if err := kafka.Scan(ctx, s.Kafka, rest, r.add); err != nil {
		return nil, fmt.Errorf("read the order's records: %w", err)
	}
	slices.SortFunc(r.facts, func(a, b Fact) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(rank(a), rank(b)), strings.Compare(a.Place.Topic, b.Place.Topic),
			cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
	return r.facts, nil
}

// rank puts what causes before what it causes, where both are of one millisecond.
func rank(f Fact) int {
	return slices.Index([]string{KindCreated, KindAuthorized, KindRejected, KindSetAside, KindReplayed, KindPurged}, f.Kind)
}

func eventTopics() []string {
	return []string{banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
}

// reading collects facts, which arrive from several partitions at once.
type reading struct {
	order       string
	progress    func(done, total int64)
	mu          sync.Mutex
	facts       []Fact
	done, total int64
}

func (r *reading) add(record record.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.progress != nil {
		r.progress(r.done, r.total)
	}
	if string(record.Key) == r.order && len(r.facts) < MaxFacts {
		r.facts = append(r.facts, factOf(record))
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
