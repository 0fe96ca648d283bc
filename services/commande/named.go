package commande

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
)

// ErrIDsBehind: the storage would give ids that orders in the topics have.
var ErrIDsBehind = errors.New("order ids would repeat")

const (
	// tail is how many of each partition's last records a start looks at: ids
	// rise along the log, but for the blocks of other instances.
	tail = 1000
	// margin is how far ids go on beyond what can be told, for each record that there
	// has been, where records that named some have been deleted and the storage does
	// not know them either.
	margin = 1_000_000
	// unknown stands for a highest id where some have been given that no record names.
	unknown = -1
	// unpublished is how many orders may have taken ids and not come to the log.
	unpublished = 1000
)

const (
	// A number that was once too large for 64 bits has become none of a whole kind.
	nextBlock = `SELECT CAST(next_number AS BIGINT) FROM order_ids WHERE name = 'order'`
	setBlock  = `UPDATE order_ids SET next_number = $1 WHERE name = 'order'`
)

// named is what the topics say about the ids that have been given.
type named struct {
	highest   int64        // the highest number that a record names, 0 for none
	seen      bool         // a record says what it was: it names an order, or is a probe's
	published int64        // how many records orders.created has had
	cut       bool         // some of these have been deleted
	foreign   int          // records that name a number which was not given here
	ahead     []int64      // the numbers of orders among these
	ends      []kafka.Span // of the topics, as they were when they were read
}

// plausible is the highest number that can have been given: with an order, the
// rest of a block may be lost, or a margin be left out.
func (n named) plausible() int64 {
	if n.published > math.MaxInt64/margin-unpublished {
		return math.MaxInt64
	}
	return (n.published + unpublished) * margin
}

// usable says whether a storage that would go on with next can have come there: by
// orders, and once more past all that can be named.
func (n named) usable(next int64) bool { return next-margin <= n.plausible() }

// idsNamed reads every topic that names orders: each partition's last records,
// or all where those name none. What was decided and what was set aside is kept
// longer than the orders themselves. Without an issuer it cannot tell whose a record
// is, and takes it for commande's.
func idsNamed(ctx context.Context, log kafka.Log, last int64, by *issuer) (named, error) {
	var topics []string
	for _, topic := range banking.Topics() {
		topics = append(topics, topic.Name)
	}
	all, err := log.Bounds(ctx, topics...)
	if err != nil {
		return named{}, err
	}
	n := named{ends: all}
	latest, whole := make([]kafka.Span, len(all)), true
	for i, span := range all {
		if span.Topic == banking.TopicOrdersCreated {
			n.published += span.End
			n.cut = n.cut || span.Start > 0
		}
		latest[i] = span
		latest[i].Start = max(span.Start, span.End-last)
		whole = whole && latest[i].Start == span.Start
	}
	found, err := n.scan(ctx, log, latest, by)
	if err == nil && !found.seen && !whole {
		found, err = n.scan(ctx, log, all, by)
	}
	if err != nil {
		return named{}, fmt.Errorf("look for the highest order id: %w", err)
	}
	return found, nil
}

// scan adds what the spans' records name.
func (n named) scan(ctx context.Context, log kafka.Log, spans []kafka.Span, by *issuer) (named, error) {
	var mu sync.Mutex
	err := log.Scan(ctx, spans, func(r record.Record) error {
		found, ok := naming(r)
		if !ok {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case by == nil && found.number > n.plausible():
			n.foreign++
		case by == nil || by.knows(found):
			n.highest, n.seen = max(n.highest, found.number), true
		default:
			n.foreign++
			if !found.probe && len(n.ahead) < maxForeign {
				n.ahead = append(n.ahead, found.number)
			}
		}
		return nil
	})
	return n, err
}

// name is the id of the order that a record is about.
type name struct {
	number  int64 // in the id; of a probe the one that its id names
	orderID string
	eventID string // of the event that created the order, as the record has it
	probe   bool
}

// naming returns the name of the order that a record is about. Only real events,
// letters and markers count: anybody may put a record with any key on a topic.
func naming(r record.Record) (name, bool) {
	found := name{orderID: string(r.Key)}
	if found.number, found.probe = banking.NamedByProbe(found.orderID); !found.probe {
		var ok bool
		if found.number, ok = banking.GivenNumber(found.orderID); !ok { // order-007 is a stranger's, and takes no id away
			return found, false
		}
	}
	if m, err := record.ParseMarker(r); err == nil {
		found.eventID = m.EventID
		return found, true
	}
	if _, original, err := record.ParseOrigin(r); err == nil {
		r = original
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return found, false
	}
	if found.eventID = event.ID(); event.Type() != banking.TypeOrderCreated {
		found.eventID = r.Header(record.HeaderOriginalEventID)
	}
	return found, true
}

// openIDs returns what gives orders their ids. It refuses a storage that is older than the topics: a
// copy that was restored, or an empty folder on a cluster that has had orders.
//
// The log is read first: other instances take ids meanwhile, and an id is
// taken from storage before it comes to the log. What was given here is known by its events;
// other ids that the topics name are left out, once the storage has begun to know that.
func openIDs(ctx context.Context, store *storage.Store, topics kafka.Log, log *slog.Logger) (*ids, *watch, error) {
	by, err := readIssuer(ctx, store)
	if err != nil {
		return nil, nil, err
	}
	n, err := idsNamed(ctx, topics, tail, by)
	if err != nil {
		return nil, nil, err
	}
	if n.foreign > 0 {
		log.WarnContext(ctx, "records name orders that were not taken here; their ids are left out", "records", n.foreign)
	}
	var next int64
	if err := store.QueryRow(ctx, nextBlock).Scan(&next); err != nil {
		return nil, nil, fmt.Errorf("read order ids: %w", err)
	}
	if err := n.check(next); err != nil {
		return nil, nil, err
	}
	if by == nil {
		if err := store.Update(ctx, func(tx *storage.Tx) error { return haveIssuer(ctx, tx, next) }); err != nil {
			return nil, nil, err
		}
		if by, err = readIssuer(ctx, store); err != nil {
			return nil, nil, err
		}
	}
	allocator := &ids{store: store, highest: n.highest, omitted: map[int64]bool{}}
	if n.highest == 0 && next > 1 {
		allocator.highest = unknown // some have been given
	}
	if _, _, err := allocator.leaveOut(ctx, n.ahead); err != nil {
		return nil, nil, err
	}
	w := &watch{
		ids: allocator, issuer: by, topics: topics, log: log, parts: map[record.Partition]*seenRecords{},
		count: func(context.Context, string, int64) {},
	}
	w.begin(n.ends)
	return allocator, w, nil
}

// check refuses a storage that would go on with next.
func (n named) check(next int64) error {
	switch {
	case n.highest >= next:
		return fmt.Errorf("%w: the topics have order-%d, the storage would give order-%d next", ErrIDsBehind, n.highest, next)
	case n.cut && next <= 1 && !n.seen:
		return fmt.Errorf("%w: orders have been deleted from %s, and the storage knows of none", ErrIDsBehind, banking.TopicOrdersCreated)
	case !n.usable(next):
		return fmt.Errorf("%w: the storage would give order-%d next, which so many orders cannot have used up", ErrIDsBehind, next)
	}
	return nil
}

// SkipIDs has the ids go on after every order that the topics name, and binds
// the storage to this cluster again: what `vigie reset` does for commande. Where
// orders have been deleted from the log, and the storage does not know of them,
// ids go on at a million for each record that the log has had, where no order can
// have been. It returns how many records were left out, since they name orders that
// were not taken here.
func SkipIDs(ctx context.Context, store *storage.Store, topics kafka.Log) (foreign int, err error) {
	by, err := readIssuer(ctx, store)
	if err != nil {
		return 0, err
	}
	n, err := idsNamed(ctx, topics, math.MaxInt64, by)
	if err == nil && len(n.ahead) == maxForeign { // too many to leave out one by one
		n, err = idsNamed(ctx, topics, math.MaxInt64, nil)
	}
	if err != nil {
		return 0, err
	}
	err = store.Update(ctx, func(tx *storage.Tx) error {
		if err := tx.ClearStamp(ctx); err != nil {
			return err
		}
		var next int64
		if err := tx.QueryRow(ctx, nextBlock).Scan(&next); err != nil {
			return fmt.Errorf("read order ids: %w", err)
		}
		after := n.after(next)
		if after != next {
			if _, err := tx.Exec(ctx, setBlock, after); err != nil {
				return err
			}
		}
		return haveIssuer(ctx, tx, after)
	})
	if err == nil {
		_, _, err = (&ids{store: store, omitted: map[int64]bool{}}).leaveOut(ctx, n.ahead)
	}
	return n.foreign, err
}

// after is where ids go on for a storage that would go on with next. It never
// goes back, but from where no order can have brought it.
func (n named) after(next int64) int64 {
	least := n.highest + 1
	if n.cut {
		least = max(least, n.published+1)
	}
	switch {
	case next >= least && n.usable(next):
		return next
	case n.cut:
		// How many records there have been grows with every order, whatever is deleted
		// of them: no second start from nothing comes to the same ids.
		return max(least+margin, (n.published+1)*margin)
	}
	return least
}
