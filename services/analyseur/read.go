package analyseur

import (
	"context"
	"fmt"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/storage"
)

const (
	selectTransactions = `SELECT order_id, event_id, status, amount FROM transactions`
	selectTotals       = `SELECT status, count, amount FROM totals`
)

// Transaction is a decided payment that has been counted.
type Transaction struct {
	OrderID string
	EventID string
	Status  string
	Amount  banking.Money
}

// Total is how many payments of a status were counted, and how much.
type Total struct {
	Status string
	Count  int64
	Amount banking.Money
}

// ReadTransactions gives every transaction to transaction, in no order, and
// ends with its first error.
func ReadTransactions(ctx context.Context, s *storage.Snapshot, transaction func(Transaction) error) error {
	rows, err := s.Query(ctx, selectTransactions)
	if err != nil {
		return fmt.Errorf("read transactions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t Transaction
		if err := rows.Scan(&t.OrderID, &t.EventID, &t.Status, &t.Amount); err != nil {
			return fmt.Errorf("read transactions: %w", err)
		}
		if err := transaction(t); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ReadTotals returns the totals, one for each status.
func ReadTotals(ctx context.Context, s *storage.Snapshot) ([]Total, error) {
	rows, err := s.Query(ctx, selectTotals)
	if err != nil {
		return nil, fmt.Errorf("read totals: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Total
	for rows.Next() {
		var t Total
		if err := rows.Scan(&t.Status, &t.Count, &t.Amount); err != nil {
			return nil, fmt.Errorf("read totals: %w", err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}
