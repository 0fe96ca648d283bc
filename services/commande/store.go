package commande

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

func ownMigrations() (fs.FS, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return own, nil
}

// keptKeys is how long a key stands for its order, at least.
const keptKeys = 24 * time.Hour

// afterwards bounds what is noted in storage once it is known what became of
// an order: its own deadline may have passed.
const afterwards = 2 * time.Second

// errUnpublished: an order failed before it was published.
var errUnpublished = errors.New("the order was not published")

// openStore checks the storage against the log and returns what gives orders
// their ids, with and without a key, and what looks for others' orders.
func openStore(ctx context.Context, b *service.Base, ackTimeout time.Duration) (*keys, *watch, error) {
	allocator, others, err := openIDs(ctx, b.Store, kafka.Cluster{Config: b.Kafka, Client: b.Control}, b.Log)
	if err != nil {
		return nil, nil, err
	}
	b.Stack.OnStop("order ids", allocator.release)
	known := &keys{store: b.Store, ids: allocator, issuer: others.issuer, log: b.Log, now: time.Now}
	if err := b.PruneAfter(keptKeys, known.newest, forgetOldKeys); err != nil {
		return nil, nil, err
	}
	// A request has done with its key when its order has been waited for, and
	// what became of it has been noted.
	known.lease = ackTimeout + afterwards
	return known, others, nil
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

// Lost says whether a storage that [OpenStorage] has opened was new: no ids have
// been given with it, and no keys are known.
func Lost(ctx context.Context, s *storage.Store) (bool, error) {
	var next int64
	if err := s.QueryRow(ctx, nextBlock).Scan(&next); err != nil {
		return false, fmt.Errorf("read order ids: %w", err)
	}
	return next <= 1, nil
}

// blockSize is how many ids are taken from storage at a time: an order costs
// a thousandth of a storage transaction, and a crash skips at most that many.
const blockSize = 1000

const (
	takeBlock = `UPDATE order_ids SET next_number = next_number + $1 WHERE name = 'order' RETURNING next_number`
	// giveBack succeeds only while nobody has taken a later block.
	giveBack = `UPDATE order_ids SET next_number = $1 WHERE name = 'order' AND next_number = $2`
)

// ids gives each order its id. An id is never given twice, whatever crashes
// and however many instances share the storage: blocks are taken from storage
// before their first id is given.
type ids struct {
	store *storage.Store

	mu        sync.Mutex
	next, end int64          // the rest of the block: next ≤ id < end
	highest   int64          // that is known to have been given: here, or as the topics said at the start; or unknown
	omitted   map[int64]bool // ids of the block that others' records have
}

// identifier gives ids to orders.
type identifier interface {
	take(ctx context.Context) (string, error)
}

// take returns a new order id.
func (i *ids) take(ctx context.Context) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	id := int64(0)
	for id == 0 || i.omitted[id] {
		if i.next == i.end {
			if err := i.refill(ctx); err != nil {
				return "", fmt.Errorf("take order ids: %w", err)
			}
		}
		id = i.next
		i.next++
	}
	i.highest = max(i.highest, id)
	return banking.OrderID(id), nil
}

func (i *ids) refill(ctx context.Context) error {
	var end int64
	omitted := map[int64]bool{}
	if err := i.store.Update(ctx, func(tx *storage.Tx) error {
		clear(omitted)
		if err := tx.QueryRow(ctx, takeBlock, blockSize).Scan(&end); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, deleteForeign, end-blockSize); err != nil {
			return err
		}
		return tx.QueryEach(ctx, selectForeign, []any{end}, func(rows *sql.Rows) error {
			var n int64
			err := rows.Scan(&n)
			omitted[n] = true
			return err
		})
	}); err != nil {
		return err
	}
	i.next, i.end, i.omitted = end-blockSize, end, omitted
	return nil
}

// known is the highest id that this instance knows to have been given.
func (i *ids) known() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.highest
}

// draft gives an order its ids and its time.
func (k *keys) draft(ctx context.Context, request banking.OrderRequest) (banking.OrderCreated, error) {
	id, err := k.ids.take(ctx)
	if err != nil {
		return banking.OrderCreated{}, err
	}
	return newEvent(id, k.issuer.event(id), request, k.now().UTC().Truncate(time.Microsecond)), nil
}

func newEvent(order, event string, request banking.OrderRequest, at time.Time) banking.OrderCreated {
	return banking.OrderCreated{
		EventID: event, OrderID: order, UserID: request.UserID, Amount: request.Amount,
		Items: request.Items, Status: banking.StatusCreated, CreatedAt: at,
	}
}

// release gives the rest of the block back, so that ids go on without a gap
// after a clean stop. No id may be taken afterwards.
func (i *ids) release(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.next == i.end {
		return nil
	}
	err := i.store.Update(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, giveBack, i.next, i.end)
		return err
	})
	if err != nil {
		return fmt.Errorf("give order ids back: %w", err)
	}
	i.next, i.end = 0, 0
	return nil
}

// errOtherRequest: the key stands for an order whose request was another.
var errOtherRequest = errors.New("the key was used for another order")

// busyError: another request with the key is under way.
type busyError struct{ left time.Duration }

// Error implements error.
func (e *busyError) Error() string {
	return fmt.Sprintf("an order with the key is under way, for %v at most", e.left)
}

const (
	findKey = `SELECT request_hash, order_id, event_id, created_us, busy_until, acknowledged FROM idempotency_keys WHERE key_hash = $1`
	addKey  = `INSERT INTO idempotency_keys (key_hash, request_hash, order_id, event_id, created_us, busy_until, acknowledged)
		VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT DO NOTHING`
	takeKeyOver = `UPDATE idempotency_keys SET busy_until = $1 WHERE key_hash = $2 AND busy_until = $3 AND acknowledged = 0`
	freeKey     = `UPDATE idempotency_keys SET busy_until = 0 WHERE key_hash = $1 AND busy_until = $2 AND acknowledged = 0`
	settleKey   = `UPDATE idempotency_keys SET busy_until = 0, acknowledged = 1 WHERE key_hash = $1 AND acknowledged = 0`
	newestKey   = `SELECT COALESCE(MAX(created_us), 0) FROM idempotency_keys`
	forgetKeys  = `DELETE FROM idempotency_keys WHERE key_hash IN
		(SELECT key_hash FROM idempotency_keys WHERE created_us < $1 ORDER BY created_us LIMIT $2)`
)

// keys are the idempotency keys in storage. A key's order has its ids before
// it is published. When it is published again, after a crash or by another
// instance, it is the same event, which readers take once.
type keys struct {
	store  *storage.Store
	ids    identifier
	issuer *issuer // of the ids of the orders' events
	log    *slog.Logger
	// lease is how long one request may be at it before another takes over.
	lease time.Duration
	now   func() time.Time
}

// place places the order of a request with a key, and returns without error
// when Kafka has it. The order is first unless another request with the key had
// brought it there. An error from before it was published is an
// [errUnpublished].
func (k *keys) place(
	ctx context.Context, key string, request banking.OrderRequest, publish func(context.Context, banking.OrderCreated) error,
) (event banking.OrderCreated, first bool, err error) {
	r, err := k.reserve(ctx, key, request)
	if err != nil {
		return r.event, false, fmt.Errorf("%w: %w", errUnpublished, err)
	}
	if r.acknowledged {
		return r.event, false, nil
	}
	err = publish(ctx, r.event)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	if err != nil {
		return r.event, false, errors.Join(err, k.free(ctx, r))
	}
	first, err = k.settle(ctx, r)
	if err != nil {
		// Kafka has the order all the same. The next request with the key
		// publishes the same event once more, which readers know.
		k.log.WarnContext(ctx, "key not settled", "order_id", r.event.OrderID, "error", err)
		first = true
	}
	return r.event, first, nil
}

// reservation is a key that this request is at, or whose order Kafka has.
type reservation struct {
	key          string
	event        banking.OrderCreated
	busyUntil    int64
	acknowledged bool
}

// reserve binds a key to an order: the one it stands for already, or a new one.
// It returns [errOtherRequest], or a [*busyError] while another request
// publishes the order.
func (k *keys) reserve(ctx context.Context, key string, request banking.OrderRequest) (reservation, error) {
	r := reservation{key: key}
	digest := fingerprint(request)
	err := k.find(k.store.QueryRow(ctx, findKey, key), request, digest, &r)
	if storage.IsNotFound(err) {
		// Not inside the transaction: ids come from a transaction of their own.
		if r.event, err = k.draft(ctx, request); err != nil {
			return r, err
		}
	} else if err != nil {
		return r, fmt.Errorf("look key up: %w", err)
	}
	if r.acknowledged {
		return r, nil
	}
	fresh := r
	err = k.store.Update(ctx, func(tx *storage.Tx) error {
		r = fresh
		return k.take(ctx, tx, request, digest, &r)
	})
	if err != nil {
		return r, fmt.Errorf("reserve key: %w", err)
	}
	return r, nil
}

// find reads a row, and refuses one of another request.
func (k *keys) find(row storage.Row, request banking.OrderRequest, digest string, r *reservation) error {
	var known, order, event string
	var created, acknowledged int64
	if err := row.Scan(&known, &order, &event, &created, &r.busyUntil, &acknowledged); err != nil {
		return err
	}
	if known != digest {
		return errOtherRequest
	}
	r.acknowledged = acknowledged == 1
	r.event = newEvent(order, event, request, time.UnixMicro(created).UTC())
	return nil
}

// take makes the key this request's for a lease.
func (k *keys) take(ctx context.Context, tx *storage.Tx, request banking.OrderRequest, digest string, r *reservation) error {
	now := k.now()
	until := now.Add(k.lease).UnixMicro()
	added, err := tx.Exec(ctx, addKey, r.key, digest, r.event.OrderID, r.event.EventID, r.event.CreatedAt.UnixMicro(), until)
	if err != nil {
		return err
	}
	if added == 1 {
		r.busyUntil = until
		return tx.Hold(ctx, r.event.CreatedAt) // a clock that is behind gives it a time of long ago
	}
	if err := k.find(tx.QueryRow(ctx, findKey, r.key), request, digest, r); err != nil || r.acknowledged {
		return err
	}
	// Another instance's clock may be a little ahead; a lease that ends beyond
	// that is one of a clock that has gone back since, and is taken over.
	if left := time.UnixMicro(r.busyUntil).Sub(now); left > 0 && left < 2*k.lease {
		return &busyError{min(left, k.lease)}
	}
	taken, err := tx.Exec(ctx, takeKeyOver, until, r.key, r.busyUntil)
	if err == nil && taken == 0 {
		err = storage.ErrConflict
	}
	r.busyUntil = until
	return err
}

// free lets the next request with the key try at once: this one has failed.
func (k *keys) free(ctx context.Context, r reservation) error {
	err := k.store.Update(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, freeKey, r.key, r.busyUntil)
		return err
	})
	if err != nil {
		return fmt.Errorf("free key: %w", err)
	}
	return nil
}

// settle notes that Kafka has the key's order, and says whether this was the
// first to note it.
func (k *keys) settle(ctx context.Context, r reservation) (first bool, err error) {
	err = k.store.Update(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, settleKey, r.key)
		first = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("settle key: %w", err)
	}
	return first, nil
}

// newest is when the newest key was first used, zero for none.
func (k *keys) newest(ctx context.Context) (time.Time, error) {
	var micros int64
	if err := k.store.QueryRow(ctx, newestKey).Scan(&micros); err != nil {
		return time.Time{}, fmt.Errorf("read the newest key's time: %w", err)
	}
	if micros == 0 {
		return time.Time{}, nil
	}
	return time.UnixMicro(micros), nil
}

// forgetOldKeys removes keys that were first used before a time.
func forgetOldKeys(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, forgetKeys, before.UnixMicro(), limit)
}

// fingerprint distinguishes requests by what they ask for, not by how their
// bodies are written.
func fingerprint(request banking.OrderRequest) string {
	parts := append([]string{request.UserID, strconv.FormatInt(int64(request.Amount), 10)}, request.Items...)
	for i, part := range parts {
		parts[i] = strconv.Quote(part)
	}
	return hash(strings.Join(parts, ","))
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
