package paiement

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// purgeOf reads a record of the dead letters: the order that it ends, and the
// event of it. Letters, replays, and purges that end no order are none.
func purgeOf(r record.Record) (order, event string, ok bool) {
	m, err := record.ParseMarker(r)
	if err != nil || m.Resolution != record.Purged || m.EventID == "" || len(r.Key) == 0 {
		return "", "", false
	}
	return string(r.Key), m.EventID, true
}

// unread are the purges that stand in the topic and not yet in the ledger. They
// bind all the same: an order is decided only after every purge has been looked
// at that was there before.
type unread struct {
	store store
	log   kafka.Log

	came  atomic.Int64 // those who have asked
	mu    sync.Mutex
	asked int64                      // those of them who had come when the last look began that did not fail
	seen  map[record.Partition]int64 // looked at before this offset, here or by the ledger
	ends  map[string]string          // the orders that what was looked at here ends, and their events
}

func newUnread(s store, log kafka.Log) *unread {
	return &unread{store: s, log: log, seen: map[record.Partition]int64{}, ends: map[string]string{}}
}

// Purged returns those of the orders that are purged, with the event of each,
// as far as the ledger does not know. Those who ask at the same time share a look
// that began after them.
func (u *unread) Purged(ctx context.Context, orderIDs []string) (map[string]string, error) {
	ticket := u.came.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asked < ticket { // no look has begun since we came, in which we could share
		came := u.came.Load()
		if err := u.look(ctx); err != nil { // not shared: ctx is ours alone
			return nil, fmt.Errorf("look for purges: %w", err)
		}
		u.asked = came
	}
	purged := map[string]string{}
	for _, id := range orderIDs {
		if event, ok := u.ends[id]; ok {
			purged[id] = event
		}
	}
	return purged, nil
}

// look reads what has been added since the last look and the ledger has not
// taken: usually nothing.
func (u *unread) look(ctx context.Context) error {
	ends, err := u.log.Ends(ctx, banking.TopicOrdersDLQ)
	if err != nil {
		return err
	}
	grown := false
	for p, end := range ends {
		grown = grown || u.seen[p] < end
	}
	if !grown {
		return nil
	}
	bounds, err := u.log.Bounds(ctx, banking.TopicOrdersDLQ)
	if err != nil {
		return err
	}
	behind := false // the ledger, behind what was looked at before
	var spans []kafka.Span
	for _, b := range bounds {
		next, _, err := u.store.Position(ctx, b.Partition)
		if err != nil {
			return err
		}
		behind = behind || next < u.seen[b.Partition]
		b.Start = max(b.Start, next, u.seen[b.Partition])
		spans = append(spans, b)
	}
	if !behind {
		u.ends = map[string]string{} // the ledger has them all
	}
	return u.scan(ctx, spans)
}

func (u *unread) scan(ctx context.Context, spans []kafka.Span) error {
	var mu sync.Mutex // several partitions are read at once
	err := u.log.Scan(ctx, spans, func(r record.Record) error {
		if order, event, ok := purgeOf(r); ok {
			mu.Lock()
			defer mu.Unlock()
			u.ends[order] = event
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range spans {
		u.seen[s.Partition] = max(s.Start, s.End)
	}
	return nil
}
