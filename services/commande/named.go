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
	highest   int64 // the highest number that a record names, 0 for none
	seen      bool  // a record says what it was: it names an order, or is a probe's
	published int64 // how many records orders.created has had
	cut       bool  // some of these have been deleted
	foreign   int   // records that name a number which cannot have been given
}

// plausible is the highest number that can have been given: with an order, the
// rest of a block may be lost, or a margin be left out.
func (n named) plausible() int64 {
	if n.published > math.MaxInt64/margin-unpublished {
		return math.MaxInt64
	}
	return (n.published + unpublished) * margin
}

// idsNamed reads every topic that names orders: each partition's last records,
// or all where those name none. What was decided and what was set aside is kept
// longer than the orders themselves.
func idsNamed(ctx context.Context, log kafka.Log, last int64) (named, error) {
	var topics []string
	for _, topic := range banking.Topics() {
		topics = append(topics, topic.Name)
	}
	all, err := log.Bounds(ctx, topics...)
	if err != nil {
		return named{}, err
	}
	var n named
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
	found, err := n.scan(ctx, log, latest)
	if err == nil && !found.seen && !whole {
		found, err = n.scan(ctx, log, all)
	}
	if err != nil {
		return named{}, fmt.Errorf("look for the highest order id: %w", err)
	}
	return found, nil
}

// scan adds what the spans' records name.
func (n named) scan(ctx context.Context, log kafka.Log, spans []kafka.Span) (named, error) {
	var mu sync.Mutex
	err := log.Scan(ctx, spans, func(r record.Record) error {
		number, ok := number(r)
		if !ok {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if number > n.plausible() {
			n.foreign++
		} else {
			n.highest, n.seen = max(n.highest, number), true
		}
		return nil
	})
	return n, err
}

// number returns the number in the id of the order that a record is about, and of a probe
// the one that its id names. Only real events, letters and markers count: anybody may put a record with any key
// on a topic.
func number(r record.Record) (int64, bool) {
	n, ok := numberIn(string(r.Key))
	if !ok {
		return 0, false
	}
	if _, err := record.ParseMarker(r); err == nil {
		return n, true
	}
	if _, original, err := record.ParseOrigin(r); err == nil {
		r = original
	}
	_, err := delivery.Decode(r)
	return n, err == nil
}

func numberIn(orderID string) (int64, bool) {
	if n, ok := banking.NamedByProbe(orderID); ok {
		return n, true
	}
	return banking.GivenNumber(orderID) // order-007 is a stranger's, and takes no id away
}

// checkIDs refuses to start with a storage that is older than the topics: a
// copy that was restored, or an empty folder on a cluster that has had orders.
//
// The log is read first: other instances take ids meanwhile, and an id is
// taken from storage before it comes to the log. It returns the highest that is
// known to have been given, or unknown.
func checkIDs(ctx context.Context, store *storage.Store, topics kafka.Log, log *slog.Logger) (highest int64, err error) {
	n, err := idsNamed(ctx, topics, tail)
	if err != nil {
		return 0, err
	}
	if n.foreign > 0 {
		log.WarnContext(ctx, "records name orders that cannot have been taken here; their numbers are left out",
			"records", n.foreign, "highest_possible", n.plausible())
	}
	var next int64
	if err := store.QueryRow(ctx, nextBlock).Scan(&next); err != nil {
		return 0, fmt.Errorf("read order ids: %w", err)
	}
	switch {
	case n.highest >= next:
		return 0, fmt.Errorf("%w: the topics have order-%d, the storage would give order-%d next", ErrIDsBehind, n.highest, next)
	case n.cut && next <= 1 && !n.seen:
		return 0, fmt.Errorf("%w: orders have been deleted from %s, and the storage knows of none", ErrIDsBehind, banking.TopicOrdersCreated)
	case next > n.plausible():
		return 0, fmt.Errorf("%w: the storage would give order-%d next, which so many orders cannot have used up", ErrIDsBehind, next)
	}
	if n.highest == 0 && next > 1 {
		return unknown, nil // some have been given
	}
	return n.highest, nil
}

// SkipIDs has the ids go on after every order that the topics name, and binds
// the storage to this cluster again: what `vigie reset` does for commande. Where
// orders have been deleted from the log, and the storage does not know of them,
// ids go on at a million for each record that the log has had, where no order can
// have been. It returns how many records were left out, since they name orders that
// cannot have been taken.
func SkipIDs(ctx context.Context, store *storage.Store, topics kafka.Log) (foreign int, err error) {
	n, err := idsNamed(ctx, topics, math.MaxInt64)
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
		if after := n.after(next); after != next {
			_, err := tx.Exec(ctx, setBlock, after)
			return err
		}
		return nil
	})
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
	case next >= least && next <= n.plausible():
		return next
	case n.cut:
		// How many records there have been grows with every order, whatever is deleted
		// of them: no second start from nothing comes to the same ids.
		return max(least+margin, (n.published+1)*margin)
	}
	return least
}
