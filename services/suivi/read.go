package suivi

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

const selectViews = `SELECT order_id, status, amount, events FROM orders`

// View is an order as it is shown, as far as those who look on need it.
type View struct {
	OrderID string
	Status  banking.OrderStatus
	Amount  banking.Money
	Events  int // in its history
}

// ReadViews gives every order to view, in no order, and ends with its first
// error.
func ReadViews(ctx context.Context, s *storage.Snapshot, view func(View) error) error {
	rows, err := s.Query(ctx, selectViews)
	if err != nil {
		return fmt.Errorf("read views: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v View
		var events string
		if err := rows.Scan(&v.OrderID, &v.Status, &v.Amount, &events); err != nil {
			return fmt.Errorf("read views: %w", err)
		}
		var history []struct{}
		if err := json.Unmarshal([]byte(events), &history); err != nil {
			return fmt.Errorf("decode events of %s: %w", v.OrderID, err)
		}
		v.Events = len(history)
		if err := view(v); err != nil {
			return err
		}
	}
	return rows.Err()
}
