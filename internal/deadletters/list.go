package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// ErrNoTopic: a dead-letter topic does not exist.
var ErrNoTopic = errors.New("no such topic")

// Source is the cluster whose dead letters are meant.
type Source struct {
	Log kafka.Log
	// Topics lists the topics that the cluster has.
	Topics func() ([]string, error)
}

// Progress is called with how much of the work is done. It is called by one
// goroutine at a time; done never goes back.
type Progress func(done, total int64)

// Listing is what a filter chose.
type Listing struct {
	// Letters are sorted by age, the oldest first. Their texts are cut to a
	// few hundred bytes.
	Letters []Letter
	// Hidden is how many resolved letters Filter.Open left out, and Decided how
	// many whose order has been decided all the same.
	Hidden, Decided int
	// Unread is a [kafka.HiddenError] where an open transaction hides a part of
	// the topics, so that letters, purges or decisions may be missing from this;
	// nil otherwise.
	Unread error
	// Looked is up to where decisions were read, for [Resolver.Looked].
	Looked map[record.Partition]int64
}

// List reads the dead-letter topics from their start to the end that they have
// now, and returns the letters that the filter chooses. Where orders wait for
// them it reads the decisions as well. It holds the letters' descriptions, not
// their records. progress may be nil; it counts records.
func (s Source) List(ctx context.Context, f Filter, progress Progress) (Listing, error) {
	topics := f.topics()
	if slices.Contains(topics, banking.TopicOrdersDLQ) {
		topics = append(topics, decisionTopics()...)
	}
	all, unread, err := s.bounds(ctx, topics)
	if err != nil {
		return Listing{}, err
	}
	var letters, decisions []kafka.Span
	looked := map[record.Partition]int64{}
	for _, span := range all {
		if slices.Contains(decisionTopics(), span.Topic) {
			decisions, looked[span.Partition] = append(decisions, span), span.End
		} else {
			letters = append(letters, span)
		}
	}
	l := newListing(f, stepper(progress, kafka.Length(letters)+kafka.Length(decisions)))
	if err := s.Log.Scan(ctx, letters, l.add); err != nil {
		return Listing{}, fmt.Errorf("read dead letters: %w", err)
	}
	if l.resolve(); l.awaited() {
		if err := s.Log.Scan(ctx, decisions, l.addDecision); err != nil {
			return Listing{}, fmt.Errorf("read decisions: %w", err)
		}
	}
	out := l.result()
	out.Unread, out.Looked = unread, looked
	return out, nil
}

// decisionTopics say what was decided.
func decisionTopics() []string {
	return []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected}
}

// bounds returns what the topics hold and, as a [kafka.HiddenError], what of it
// cannot be read yet. A topic is looked up before it is queried for, since asking
// can create it.
func (s Source) bounds(ctx context.Context, topics []string) (spans []kafka.Span, unread, err error) {
	existing, err := s.Topics()
	if err != nil {
		return nil, nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if !slices.Contains(existing, t) {
			return nil, nil, fmt.Errorf("%w: %s", ErrNoTopic, t)
		}
	}
	written, err := s.Log.Written(ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	if spans, err = s.Log.Bounds(ctx, topics...); err != nil {
		return nil, nil, err
	}
	return spans, kafka.Hidden(written, spans), nil
}

// listing collects letters, which arrive from several partitions at once.
type listing struct {
	matcher  matcher
	mu       sync.Mutex
	letters  []Letter
	resolved map[record.Place]Resolution
	ended    map[order]Resolution // by a purge, of this letter or another
	orders   map[order]string     // that wait for one of the letters, and the status of those that are decided
	step     func()
}

// order is an order by its id and the event that created it.
type order struct{ id, event string }

// order is the one that waits for the letter; zero for none.
func (l Letter) order() order {
	if l.EventID == "" {
		return order{}
	}
	return order{l.Key, l.EventID}
}

func newListing(f Filter, step func()) *listing {
	return &listing{
		matcher: newMatcher(f), resolved: map[record.Place]Resolution{}, ended: map[order]Resolution{}, orders: map[order]string{}, step: step,
	}
}

func (l *listing) add(r record.Record) error {
	marker, noMarker := record.ParseMarker(r)
	var letter Letter
	chosen := false
	if noMarker != nil {
		letter = parseLetter(r).Letter
		chosen = l.matcher.matches(letter)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case noMarker == nil:
		l.mark(string(r.Key), marker)
	case chosen:
		l.letters = append(l.letters, letter.brief())
	}
	l.step()
	return nil
}

// mark notes what became of a letter. A purge has the last word, else a later
// marker has.
func (l *listing) mark(key string, m record.Marker) {
	known, now := l.resolved[m.Letter], Resolution{Kind: m.Resolution, At: m.At}
	if m.Resolution == record.Purged && m.EventID != "" {
		l.ended[order{key, m.EventID}] = now
	}
	if known.Kind != record.Purged && (m.Resolution == record.Purged || known.At.Before(m.At)) {
		l.resolved[m.Letter] = now
	}
}

// resolve gives the letters what became of them, once all markers have been
// read, and notes the orders that wait for them.
func (l *listing) resolve() {
	for i, letter := range l.letters {
		resolution := l.resolved[letter.ID]
		if end, ok := l.ended[letter.order()]; ok {
			resolution = end
		}
		l.letters[i].Resolution = resolution
		if letter.EventID != "" {
			l.orders[letter.order()] = ""
		}
	}
}

// awaited says whether orders wait for the letters.
func (l *listing) awaited() bool { return len(l.orders) > 0 }

// addDecision notes a decision on an order that waits.
func (l *listing) addDecision(r record.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step()
	noteDecision(l.orders, r)
	return nil
}

// noteDecision notes what was decided on one of the orders. What is no decision
// decides nothing.
func noteDecision(orders map[order]string, r record.Record) {
	o := order{string(r.Key), r.Header(record.HeaderOriginalEventID)}
	if _, waits := orders[o]; !waits {
		return
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return
	}
	switch e := event.(type) {
	case banking.PaymentAuthorized:
		orders[o] = e.Status
	case banking.PaymentRejected:
		orders[o] = e.Status
	}
}

func (l *listing) result() Listing {
	var out Listing
	for _, letter := range l.letters {
		letter.Decision = l.orders[letter.order()]
		switch {
		case l.matcher.Open && letter.Decided():
			out.Decided++
		case l.matcher.Open && letter.Resolved():
			out.Hidden++
		default:
			out.Letters = append(out.Letters, letter)
		}
	}
	slices.SortFunc(out.Letters, func(a, b Letter) int {
		return cmp.Or(a.FailedAt.Compare(b.FailedAt), strings.Compare(a.ID.Topic, b.ID.Topic),
			cmp.Compare(a.ID.ID, b.ID.ID), cmp.Compare(a.ID.Offset, b.ID.Offset))
	})
	return out
}

// Topics returns the dead-letter topics.
func Topics() []string { return []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ} }

// Filter chooses letters. What is set must all apply; the zero value chooses
// every letter. Those of probes are chosen by their id or order alone.
type Filter struct {
	IDs []record.Place
	// Topic is a dead-letter topic or one that letters come from.
	Topic  string
	Group  string
	Reason string
	Order  string // the record's key
	// Before and After bound when the letter was set aside; neither is included.
	Before, After time.Time
	// Open leaves out the letters that wait for nobody.
	Open bool
}

// Narrow says whether the filter asks for anything but openness: without, it
// chooses every letter that there is.
func (f Filter) Narrow() bool {
	return len(f.IDs) > 0 || f.Topic != "" || f.Group != "" || f.Reason != "" || f.Order != "" ||
		!f.Before.IsZero() || !f.After.IsZero()
}

// topics returns the dead-letter topics that can hold what the filter chooses.
func (f Filter) topics() []string {
	return slices.DeleteFunc(Topics(), func(topic string) bool {
		here := func(id record.Place) bool { return id.Topic == topic }
		return !is(f.Topic, topic) && banking.DeadLetterTopic(f.Topic) != topic ||
			len(f.IDs) > 0 && !slices.ContainsFunc(f.IDs, here)
	})
}

// matcher is a filter made ready for many letters. It does not look at what
// became of them, which is known only at the end.
type matcher struct {
	Filter
	ids map[record.Place]struct{}
}

func newMatcher(f Filter) matcher {
	m := matcher{Filter: f}
	if len(f.IDs) > 0 {
		m.ids = make(map[record.Place]struct{}, len(f.IDs))
		for _, id := range f.IDs {
			m.ids[id] = struct{}{}
		}
	}
	return m
}

func (m matcher) matches(l Letter) bool {
	if m.ids != nil {
		if _, ok := m.ids[l.ID]; !ok {
			return false
		}
	}
	if banking.IsProbe(l.Key) && m.ids == nil && m.Order == "" {
		return false // nobody waits for it
	}
	return is(m.Group, l.Group) && is(m.Reason, l.Reason) && is(m.Order, l.Key) &&
		(is(m.Topic, l.ID.Topic) || m.Topic == l.Origin.Topic) &&
		(m.Before.IsZero() || l.FailedAt.Before(m.Before)) && (m.After.IsZero() || l.FailedAt.After(m.After))
}

// is compares with what is wanted, if anything.
func is(want, got string) bool { return want == "" || want == got }

// Open reads the letters again, whole, and gives each to read: in order within
// a partition, several partitions at a time. Letters that retention has deleted
// meanwhile are not given.
func (s Source) Open(ctx context.Context, letters []Letter, read func(Whole) error) error {
	wanted := make(map[record.Place]Letter, len(letters))
	for _, l := range letters {
		wanted[l.ID] = l
	}
	spans, err := s.spans(ctx, letters)
	if err != nil {
		return err
	}
	err = s.Log.Scan(ctx, spans, func(r record.Record) error {
		letter, ok := wanted[r.Place]
		if !ok {
			return nil
		}
		w := parseLetter(r)
		w.Resolution, w.Decision = letter.Resolution, letter.Decision
		return read(w)
	})
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	return nil
}

// spans covers the letters, as far as they are still there, with one span for
// each partition.
func (s Source) spans(ctx context.Context, letters []Letter) ([]kafka.Span, error) {
	covering := map[record.Partition]kafka.Span{}
	for _, l := range letters {
		p := l.ID.Partition
		c, ok := covering[p]
		if !ok {
			c = kafka.Span{Partition: p, Start: l.ID.Offset}
		}
		c.Start, c.End = min(c.Start, l.ID.Offset), max(c.End, l.ID.Offset+1)
		covering[p] = c
	}
	var topics []string
	for p := range covering {
		if !slices.Contains(topics, p.Topic) {
			topics = append(topics, p.Topic)
		}
	}
	present, _, err := s.bounds(ctx, topics)
	if err != nil {
		return nil, err
	}
	var out []kafka.Span
	for _, b := range present {
		c, ok := covering[b.Partition]
		c.Start, c.End = max(c.Start, b.Start), min(c.End, b.End)
		if ok && c.Start < c.End {
			out = append(out, c)
		}
	}
	return out, nil
}

// stepper returns a function that reports one more step. Its callers have locked a
// mutex of theirs.
func stepper(progress Progress, total int64) func() {
	if progress == nil {
		return func() {}
	}
	done := int64(0)
	return func() {
		done = min(done+1, total)
		progress(done, total)
	}
}
