// Package memlog is a cluster's topics in memory: what tests use in place of a
// broker that simulate weeks in a moment. Records are appended, read, and cut at
// the front of a partition, as retention does; a disk may lose some in the middle,
// and a stranger's transaction may hide what stands at the end.
package memlog

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// Log is the bank's topics. It is a [kafka.Log], and takes what services
// publish. Its methods are safe for concurrent use.
type Log struct {
	now func() time.Time

	mu    sync.Mutex
	parts map[record.Partition]*part
}

type part struct {
	start   int64
	records []record.Record
	lost    map[int64]bool // offsets in the middle that have no record any more
	hidden  int64          // from where on a transaction hides what stands there
}

// New makes empty topics. now gives records their time.
func New(now func() time.Time) *Log {
	l := &Log{now: now, parts: map[record.Partition]*part{}}
	for _, t := range banking.Topics() {
		for id := range t.Partitions {
			l.parts[record.Partition{Topic: t.Name, ID: id}] = newPart()
		}
	}
	return l
}

// Append adds a message to the partition of its key and returns where it stands.
func (l *Log) Append(m record.Message) record.Place {
	hash := fnv.New32a()
	_, _ = hash.Write(m.Key)
	l.mu.Lock()
	defer l.mu.Unlock()
	at := record.Partition{Topic: m.Topic, ID: int32(hash.Sum32() % banking.Partitions)}
	p := l.part(at)
	place := record.Place{Partition: at, Offset: p.written()}
	p.records = append(p.records, record.Record{Place: place, Key: m.Key, Value: m.Value, Headers: m.Headers, Time: l.now()})
	return place
}

// PublishAll appends what a service publishes.
func (l *Log) PublishAll(_ context.Context, messages []*sarama.ProducerMessage) error {
	for _, pm := range messages {
		m := record.Message{Topic: pm.Topic}
		if pm.Key != nil {
			m.Key, _ = pm.Key.Encode()
		}
		if pm.Value != nil {
			m.Value, _ = pm.Value.Encode()
		}
		for _, h := range pm.Headers {
			m.Headers = append(m.Headers, record.Header{Key: string(h.Key), Value: h.Value})
		}
		place := l.Append(m)
		pm.Partition, pm.Offset = place.ID, place.Offset
	}
	return nil
}

// Cut removes a partition's records before an offset.
func (l *Log) Cut(at record.Partition, before int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(at)
	n := min(max(before-p.start, 0), int64(len(p.records)))
	p.start, p.records = p.start+n, slices.Clone(p.records[n:])
}

// CutOlder removes a topic's records that are older than a time, from the front
// of each partition, as retention does.
func (l *Log) CutOlder(topic string, than time.Time) {
	for id := range int32(banking.Partitions) {
		at := record.Partition{Topic: topic, ID: id}
		before := int64(0)
		for _, r := range l.Records(at) {
			if !r.Time.Before(than) {
				break
			}
			before = r.Offset + 1
		}
		l.Cut(at, before)
	}
}

// Lose removes a record from the middle of its partition, as a salvage does. Its
// offset is not given again.
func (l *Log) Lose(at record.Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part(at.Partition).lost[at.Offset] = true
}

// Replace empties a topic, as deleting it and making it again does.
func (l *Log) Replace(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range int32(banking.Partitions) {
		*l.part(record.Partition{Topic: topic, ID: id}) = *newPart()
	}
}

// Hide has a stranger open a transaction in a partition: what is appended from
// now on cannot be read before [Log.Show].
func (l *Log) Hide(at record.Partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(at)
	p.hidden = p.written()
}

// Show ends the transaction of [Log.Hide].
func (l *Log) Show(at record.Partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part(at).hidden = never
}

// Records returns what a partition holds and can be read.
func (l *Log) Records(at record.Partition) []record.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.part(at)
	return slices.DeleteFunc(slices.Clone(p.records), func(r record.Record) bool { return p.lost[r.Offset] || r.Offset >= p.end() })
}

// Bounds implements [kafka.Log].
func (l *Log) Bounds(_ context.Context, topics ...string) ([]kafka.Span, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []kafka.Span
	for _, topic := range topics {
		for id := range int32(banking.Partitions) {
			at := record.Partition{Topic: topic, ID: id}
			p, ok := l.parts[at]
			if !ok {
				return nil, fmt.Errorf("no such topic: %s", topic)
			}
			out = append(out, kafka.Span{Partition: at, Start: p.start, End: p.end()})
		}
	}
	return out, nil
}

// Ends implements [kafka.Log].
func (l *Log) Ends(ctx context.Context, topics ...string) (map[record.Partition]int64, error) {
	spans, err := l.Bounds(ctx, topics...)
	ends := map[record.Partition]int64{}
	for _, s := range spans {
		ends[s.Partition] = s.End
	}
	return ends, err
}

// Written implements [kafka.Log].
func (l *Log) Written(_ context.Context, topics ...string) (map[record.Partition]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	written := map[record.Partition]int64{}
	for p, part := range l.parts {
		if slices.Contains(topics, p.Topic) {
			written[p] = part.written()
		}
	}
	return written, nil
}

// Scan implements [kafka.Log]. It reads one span after the other.
func (l *Log) Scan(ctx context.Context, spans []kafka.Span, read func(record.Record) error) error {
	return l.ScanHoles(ctx, spans, read, func(kafka.Span) {})
}

// ScanHoles implements [kafka.Log].
func (l *Log) ScanHoles(ctx context.Context, spans []kafka.Span, read func(record.Record) error, hole func(kafka.Span)) error {
	for _, s := range spans {
		next := s.Start
		for _, r := range l.Records(s.Partition) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.Offset < s.Start || r.Offset >= s.End {
				continue
			}
			if next < r.Offset {
				hole(kafka.Span{Partition: s.Partition, Start: next, End: r.Offset})
			}
			if err := read(r); err != nil {
				return err
			}
			next = r.Offset + 1
		}
		if next < s.End {
			hole(kafka.Span{Partition: s.Partition, Start: next, End: s.End})
		}
	}
	return nil
}

// part is a partition. The caller has locked mu.
func (l *Log) part(at record.Partition) *part {
	p, ok := l.parts[at]
	if !ok {
		panic("no such partition: " + at.String())
	}
	return p
}

// never is an offset that no log comes to.
const never = math.MaxInt64

func newPart() *part { return &part{lost: map[int64]bool{}, hidden: never} }

func (p *part) written() int64 { return p.start + int64(len(p.records)) }

// end is where it ends for those who read what is committed.
func (p *part) end() int64 { return min(p.written(), p.hidden) }
