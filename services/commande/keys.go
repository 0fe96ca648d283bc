package commande

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

// keptKeys is how long a key stands for its order, at least.
const keptKeys = 24 * time.Hour

// errOtherRequest: the key stands for an order that was asked for otherwise.
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
	forgetKeys  = `DELETE FROM idempotency_keys WHERE key_hash IN
		(SELECT key_hash FROM idempotency_keys WHERE created_us < $1 ORDER BY created_us LIMIT $2)`
)

// keys are the idempotency keys in storage. A key's order has its ids before
// it is published; whoever publishes it again, after whatever crash and on
// whichever instance, publishes the same event, which readers take once.
type keys struct {
	store *storage.Store
	// lease is how long one request may be at it before another takes over.
	lease time.Duration
}

// held is a key that this request is at, or whose order Kafka has.
type held struct {
	key          string
	event        banking.OrderCreated
	busyUntil    int64
	acknowledged bool
}

// reserve binds a key to an order: the one it stands for already, or that which
// draft makes. It answers [errOtherRequest], or a [*busyError] while another
// request publishes the order.
func (k *keys) reserve(
	ctx context.Context, key string, request banking.OrderRequest, draft func(context.Context, banking.OrderRequest) (banking.OrderCreated, error),
) (held, error) {
	h := held{key: key}
	asked := fingerprint(request)
	err := k.find(k.store.QueryRow(ctx, findKey, key), request, asked, &h)
	if storage.IsNotFound(err) {
		// Not inside the transaction: ids come from a transaction of their own.
		if h.event, err = draft(ctx, request); err != nil {
			return h, err
		}
	} else if err != nil {
		return h, fmt.Errorf("look key up: %w", err)
	}
	if h.acknowledged {
		return h, nil
	}
	fresh := h
	err = k.store.Update(ctx, func(tx *storage.Tx) error {
		h = fresh
		return k.take(ctx, tx, request, asked, &h)
	})
	if err != nil {
		return h, fmt.Errorf("reserve key: %w", err)
	}
	return h, nil
}

// find reads a row, and refuses one of another request.
func (k *keys) find(row storage.Row, request banking.OrderRequest, asked string, h *held) error {
	var known, order, event string
	var created, acknowledged int64
	if err := row.Scan(&known, &order, &event, &created, &h.busyUntil, &acknowledged); err != nil {
		return err
	}
	if known != asked {
		return errOtherRequest
	}
	h.acknowledged = acknowledged == 1
	h.event = newEvent(order, event, request, time.UnixMicro(created).UTC())
	return nil
}

// take makes the key this request's for a lease.
func (k *keys) take(ctx context.Context, tx *storage.Tx, request banking.OrderRequest, asked string, h *held) error {
	now := time.Now()
	until := now.Add(k.lease).UnixMicro()
	added, err := tx.Exec(ctx, addKey, h.key, asked, h.event.OrderID, h.event.EventID, h.event.CreatedAt.UnixMicro(), until)
	if err != nil {
		return err
	}
	if added == 1 {
		h.busyUntil = until
		return nil
	}
	if err := k.find(tx.QueryRow(ctx, findKey, h.key), request, asked, h); err != nil || h.acknowledged {
		return err
	}
	if left := time.UnixMicro(h.busyUntil).Sub(now); left > 0 {
		return &busyError{min(left, k.lease)} // another's clock may be ahead
	}
	taken, err := tx.Exec(ctx, takeKeyOver, until, h.key, h.busyUntil)
	if err == nil && taken == 0 {
		err = storage.ErrConflict
	}
	h.busyUntil = until
	return err
}

// free lets the next request with the key try at once: this one has failed.
func (k *keys) free(ctx context.Context, h held) error {
	err := k.store.Update(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, freeKey, h.key, h.busyUntil)
		return err
	})
	if err != nil {
		return fmt.Errorf("free key: %w", err)
	}
	return nil
}

// settle notes that Kafka has the key's order, and says whether this was the
// first to note it.
func (k *keys) settle(ctx context.Context, h held) (first bool, err error) {
	err = k.store.Update(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, settleKey, h.key)
		first = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("settle key: %w", err)
	}
	return first, nil
}

// forgetOldKeys removes keys that were first used before a time.
func forgetOldKeys(ctx context.Context, tx *storage.Tx, before time.Time, limit int) (int64, error) {
	return tx.Exec(ctx, forgetKeys, before.UnixMicro(), limit)
}
