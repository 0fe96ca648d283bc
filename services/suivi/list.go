package suivi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// errCursor says that a cursor is not one that this service gave.
var errCursor = errors.New("unknown cursor")

// cursor names the last order of a page; the next page begins after it.
type cursor struct {
	listedAt int64
	orderID  string
}

// newest stands before the newest order.
func newest() cursor { return cursor{math.MaxInt64, ""} }

func cursorAfter(v view) cursor { return cursor{toMicros(v.ListedAt), v.OrderID} }

// String encodes the cursor for clients, to whom it is opaque.
func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.listedAt, 10) + "/" + c.orderID))
}

func parseCursor(text string) (cursor, error) {
	if text == "" {
		return newest(), nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return cursor{}, errCursor
	}
	at, id, ok := strings.Cut(string(raw), "/")
	micros, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || id == "" {
		return cursor{}, errCursor
	}
	return cursor{micros, id}, nil
}

// parseLimit reads the query's limit; "" is the default.
func parseLimit(text string) (int, error) {
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, fmt.Errorf("limit must be a number from 1 to %d", maxLimit)
	}
	return n, nil
}

// page reads at most limit orders after the cursor, newest first, and says
// whether more follow. Orders that arrive meanwhile do not shift it.
func page(ctx context.Context, store *storage.Store, after cursor, limit int) (views []view, more bool, err error) {
	rows, err := store.Query(ctx, selectNewest, after.listedAt, after.orderID, limit+1)
	if err != nil {
		return nil, false, fmt.Errorf("list orders: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scanView(rows)
		if err != nil {
			return nil, false, fmt.Errorf("list orders: %w", err)
		}
		views = append(views, v)
	}
	if len(views) > limit {
		return views[:limit], true, rows.Err()
	}
	return views, false, rows.Err()
}
