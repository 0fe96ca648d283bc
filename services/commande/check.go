package commande

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
)

// ErrIDsBehind: the storage would give ids that orders in the log have.
var ErrIDsBehind = errors.New("order ids would repeat")

const (
	// tail is how many of each partition's last records are looked at: ids
	// rise along the log, but for the blocks of other instances.
	tail = 1000
	// skipIDs never moves backwards.
	skipIDs = `UPDATE order_ids SET next_number = $1 WHERE name = 'order' AND next_number < $1`
)

// checkIDs refuses to start with a storage that is older than the log: a copy
// that was restored, or an empty folder on a cluster that has orders.
//
// The log is asked first: other instances take ids meanwhile, and an id is
// taken from storage before it comes to the log.
func checkIDs(ctx context.Context, b *service.Base) error {
	highest, err := highestID(ctx, b.Control, b.Kafka, tail)
	if err != nil {
		return err
	}
	var next int64
	if err := b.Store.QueryRow(ctx, nextBlock).Scan(&next); err != nil {
		return fmt.Errorf("read order ids: %w", err)
	}
	if highest >= next {
		return fmt.Errorf("%w: the log has order-%d, the storage would give order-%d next", ErrIDsBehind, highest, next)
	}
	return nil
}

// highestID returns the highest number of an order among each partition's last
// records, 0 for none.
func highestID(ctx context.Context, client sarama.Client, cfg kafka.Config, last int64) (int64, error) {
	spans, err := kafka.Bounds(client, banking.TopicOrdersCreated)
	if err != nil {
		return 0, err
	}
	for i := range spans {
		spans[i].Start = max(spans[i].Start, spans[i].End-last)
	}
	var mu sync.Mutex
	var highest int64
	err = kafka.Scan(ctx, cfg, spans, func(r record.Record) error {
		if n, ok := number(r); ok {
			mu.Lock()
			defer mu.Unlock()
			highest = max(highest, n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look for the highest order id: %w", err)
	}
	return highest, nil
}

// number returns the number in an order's id. Only real orders count: anybody
// may put a record with any key on the topic.
func number(r record.Record) (int64, bool) {
	text, ok := strings.CutPrefix(string(r.Key), "order-")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return 0, false
	}
	_, err = delivery.DecodeAs[banking.OrderCreated](r)
	return n, err == nil
}

// SkipIDs has the ids go on after every order in the log, and binds the
// storage to this cluster anew: what `vigie reset` does for commande, whose
// ids are the one thing that cannot be read from the topics.
func SkipIDs(ctx context.Context, store *storage.Store, client sarama.Client, cfg kafka.Config) error {
	const everything = 1 << 62
	highest, err := highestID(ctx, client, cfg, everything)
	if err != nil {
		return err
	}
	return store.Update(ctx, func(tx *storage.Tx) error {
		if err := tx.ClearStamp(ctx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, skipIDs, highest+1)
		return err
	})
}

// OpenStorage opens commande's storage for maintenance, while no instance of
// commande runs.
func OpenStorage(ctx context.Context, url string) (*storage.Store, error) {
	own, err := ownMigrations()
	if err != nil {
		return nil, err
	}
	return storage.Open(ctx, url, Name, own, storage.Alone())
}
