package commande

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// Anybody who may write to the topics may write an order there, also under an id
// that commande has yet to give. Were it given, two orders would have it, and
// paiement would take the stranger's, which came first. So commande reads what
// others write, and leaves those ids out. What is its own it knows by the event's
// id: no record of a stranger stops a start, and one of its own that its storage
// does not know says that the storage is an older copy.

// issuer makes the ids of orders' events. Half of one is drawn, the other half
// follows from that, the order's id and a secret of the storage. A nil issuer has
// made none that it would know again.
type issuer struct {
	secret []byte
	since  int64 // the number from which on orders have ids by this secret
}

const (
	selectIssuer = `SELECT secret, since_number FROM issuer WHERE name = 'order'`
	// Ids that were left without a number to go on from may go back; what they are
	// known by goes back with them.
	insertIssuer = `INSERT INTO issuer (name, secret, since_number) VALUES ('order', $1, $2)
ON CONFLICT (name) DO UPDATE SET since_number = excluded.since_number WHERE issuer.since_number > excluded.since_number`
	insertForeign = `INSERT INTO foreign_ids (number) VALUES $rows ON CONFLICT DO NOTHING`
	countForeign  = `SELECT COUNT(*) FROM foreign_ids`
	// What another instance has still to give it has in its memory.
	deleteForeign = `DELETE FROM foreign_ids WHERE number < $1`
	selectForeign = `SELECT number FROM foreign_ids WHERE number < $1`
)

const (
	// maxForeign is how many ids are left out for others' records at most: beyond
	// that somebody floods the topic, and what clashes is told as it is.
	maxForeign = 100_000
	// lookInterval is how often others' records are looked for.
	lookInterval = time.Second
)

// readIssuer returns nil where there is none yet.
func readIssuer(ctx context.Context, store *storage.Store) (*issuer, error) {
	var text string
	var i issuer
	err := store.QueryRow(ctx, selectIssuer).Scan(&text, &i.since)
	if storage.IsNotFound(err) {
		return nil, nil
	}
	if err == nil {
		i.secret, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read what events are known by: %w", err)
	}
	return &i, nil
}

// haveIssuer makes the storage's issuer where there is none, for the orders from
// a number on.
func haveIssuer(ctx context.Context, tx *storage.Tx, since int64) error {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	if _, err := tx.Exec(ctx, insertIssuer, base64.StdEncoding.EncodeToString(secret), since); err != nil {
		return fmt.Errorf("store what events are known by: %w", err)
	}
	return nil
}

// event gives an order's event its id: a UUID of version 8 (RFC 9562, section 5.8).
func (i *issuer) event(orderID string) string {
	if i == nil {
		return banking.NewEventID()
	}
	return i.derive(orderID, uuid.New())
}

// made says whether an event's id is one that was given to the order here.
func (i *issuer) made(orderID, eventID string) bool {
	id, err := uuid.Parse(eventID)
	return err == nil && hmac.Equal([]byte(i.derive(orderID, id)), []byte(eventID))
}

func (i *issuer) derive(orderID string, drawn uuid.UUID) string {
	const half = len(drawn) / 2
	id := drawn
	id[6] = id[6]&0x0f | 0x80 // the version
	mac := hmac.New(sha256.New, i.secret)
	mac.Write(id[:half])
	mac.Write([]byte(orderID))
	copy(id[half:], mac.Sum(nil))
	id[8] = id[8]&0x3f | 0x80 // the variant
	return id.String()
}

// leaveOut has numbers never be given, as far as they have not been. It returns
// how many of them are new, and those that have been given here a short while ago: two orders
// have the id by now.
func (i *ids) leaveOut(ctx context.Context, numbers []int64) (added int64, taken []int64, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	from := i.next
	if i.next == i.end {
		if err := i.store.QueryRow(ctx, nextBlock).Scan(&from); err != nil {
			return 0, nil, fmt.Errorf("read order ids: %w", err)
		}
	}
	var rows [][]any
	for _, n := range numbers {
		switch {
		case n >= from:
			rows = append(rows, []any{n})
		case n >= i.end-blockSize && n < i.next:
			taken = append(taken, n)
		}
	}
	if len(rows) == 0 {
		return 0, taken, nil
	}
	err = i.store.Update(ctx, func(tx *storage.Tx) error {
		var known int64
		if err := tx.QueryRow(ctx, countForeign).Scan(&known); err != nil {
			return err
		}
		added, err = tx.InsertRowsCounting(ctx, insertForeign, rows[:max(0, min(int64(len(rows)), maxForeign-known))])
		return err
	})
	if err != nil {
		return 0, taken, fmt.Errorf("leave order ids out: %w", err)
	}
	for _, row := range rows {
		if n := row[0].(int64); n < i.end {
			i.omitted[n] = true
		}
	}
	return added, taken, nil
}

// watch looks for what others write to orders.created.
type watch struct {
	ids    *ids
	issuer *issuer
	topics kafka.Log
	log    *slog.Logger
	count  func(ctx context.Context, found string, n int64)

	mu    sync.Mutex
	parts map[record.Partition]*seenRecords
}

// seenRecords are those of a partition that need not be looked at (again): all before
// next, and commande's own behind it.
type seenRecords struct {
	next int64
	own  map[int64]bool
}

// What others' records name, by what it is.
const (
	foundAhead = "ahead"
	foundTaken = "taken"
)

// counting makes the counter of what is found, which is seen as zero before.
func counting(ctx context.Context, counter metric.Int64Counter) func(context.Context, string, int64) {
	add := func(ctx context.Context, found string, n int64) {
		counter.Add(ctx, n, metric.WithAttributes(attribute.String("found", found)))
	}
	add(ctx, foundAhead, 0)
	add(ctx, foundTaken, 0)
	return add
}

// own notes that a record is commande's: it need not be read to know that. A nil
// watch looks at nothing.
func (w *watch) own(p record.Partition, offset int64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.part(p)
	if offset >= s.next {
		s.own[offset] = true
	}
	for s.own[s.next] {
		delete(s.own, s.next)
		s.next++
	}
}

func (w *watch) part(p record.Partition) *seenRecords {
	if w.parts[p] == nil {
		w.parts[p] = &seenRecords{own: map[int64]bool{}}
	}
	return w.parts[p]
}

// begin passes over what a start has looked at.
func (w *watch) begin(spans []kafka.Span) {
	for _, s := range spans {
		if s.Topic == banking.TopicOrdersCreated {
			w.part(s.Partition).next = s.End
		}
	}
}

// run looks in intervals, until ctx ends. What stood there at one look is read at the
// next: by then it is known what of it is commande's own.
func (w *watch) run(ctx context.Context) error {
	var ends map[record.Partition]int64
	return lifecycle.Every(ctx, lookInterval, func(ctx context.Context) error {
		now, err := w.topics.Ends(ctx, banking.TopicOrdersCreated)
		if err == nil {
			err = w.look(ctx, ends)
		}
		if err != nil { // that Kafka or the storage is away is told by others
			w.log.DebugContext(ctx, "others' orders not looked for; the next round tries again", "error", err)
			return nil
		}
		ends = now
		return nil
	})
}

// look reads what others have written before these ends.
func (w *watch) look(ctx context.Context, ends map[record.Partition]int64) error {
	spans := w.unread(ends)
	if len(spans) == 0 {
		return nil
	}
	numbers, err := w.foreign(ctx, spans)
	if err != nil {
		return err
	}
	added, taken, err := w.ids.leaveOut(ctx, numbers)
	if err != nil {
		return err
	}
	w.count(ctx, foundAhead, added)
	w.count(ctx, foundTaken, int64(len(taken)))
	if added > 0 {
		w.log.WarnContext(ctx, "others have written orders under ids that commande has yet to give; these are left out",
			"records", added)
	}
	if len(taken) > 0 {
		w.log.ErrorContext(ctx, "others have written orders under ids of orders that were taken here: of each, the one that came second stands among the dead letters",
			"records", len(taken), "first", banking.OrderID(slices.Min(taken)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, end := range ends {
		s := w.part(p)
		for s.next < end || s.own[s.next] {
			delete(s.own, s.next)
			s.next++
		}
	}
	return nil
}

// unread are the stretches before these ends that are not known to be commande's own.
func (w *watch) unread(ends map[record.Partition]int64) (spans []kafka.Span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, end := range ends {
		s := w.part(p)
		own := make([]int64, 0, len(s.own)+1)
		for offset := range s.own {
			if offset < end {
				own = append(own, offset)
			}
		}
		slices.Sort(own)
		from := s.next
		for _, offset := range append(own, end) {
			if from < offset {
				spans = append(spans, kafka.Span{Partition: p, Start: from, End: offset})
			}
			from = offset + 1
		}
	}
	slices.SortFunc(spans, func(a, b kafka.Span) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Start, b.Start)) })
	return spans
}

// foreign returns the numbers that others' orders have.
func (w *watch) foreign(ctx context.Context, spans []kafka.Span) (numbers []int64, err error) {
	bounds, err := w.topics.Bounds(ctx, banking.TopicOrdersCreated)
	if err != nil {
		return nil, err
	}
	start := map[record.Partition]int64{}
	for _, b := range bounds {
		start[b.Partition] = b.Start
	}
	for i, s := range spans { // what retention has cut meanwhile is nobody's any more
		spans[i].Start = max(s.Start, start[s.Partition])
	}
	var mu sync.Mutex
	err = w.topics.Scan(ctx, spans, func(r record.Record) error {
		if w.issuer.made(string(r.Key), r.Header(record.HeaderEventID)) {
			return nil // most are of other instances
		}
		if n, ok := naming(r); ok && !n.probe && !w.issuer.knows(n) {
			mu.Lock()
			defer mu.Unlock()
			numbers = append(numbers, n.number)
		}
		return nil
	})
	return numbers, err
}

// knows says whether an id was given here, as far as it can tell.
func (i *issuer) knows(n name) bool { return n.number < i.since || i.made(n.orderID, n.eventID) }
