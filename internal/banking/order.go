package banking

import (
	"fmt"
	"strings"
	"time"
)

// Limits of an order, as documented for POST /orders.
const (
	// MaxUserIDLength is the longest user id, in Unicode code points.
	MaxUserIDLength = 128
	// MaxItems is the largest number of items in an order.
	MaxItems = 100
	// MaxAmount is the largest amount of an order: 1,000,000.00 euros.
	MaxAmount = Money(100_000_000)
	// MaxBody is the largest request body, in bytes.
	MaxBody = 64 << 10
)

// Order is an order that has been given its id.
type Order struct {
	ID        string
	UserID    string
	Amount    Money
	Items     []string
	CreatedAt time.Time
}

// OrderRequest is what a client asks for: an order without id and time.
type OrderRequest struct {
	UserID string
	Amount Money
	Items  []string // never nil
}

// ParseOrderRequest reads the body of POST /orders.
//
// The body is exactly one JSON object in UTF-8 with the members userId, amount and,
// if wanted, items; names count in this exact case, each may appear once, and other
// members are ignored. Every error is a *FieldError and names the first problem
// found, without repeating any value.
func ParseOrderRequest(body []byte) (OrderRequest, error) {
	if len(body) > MaxBody {
		return OrderRequest{}, &FieldError{"", "is too large", fmt.Sprintf("a body of at most %d bytes", MaxBody)}
	}
	fields, err := readObject(body, "userId", "amount", "items")
	if err != nil {
		return OrderRequest{}, err
	}
	var r OrderRequest
	if r.UserID, err = fields.text("userId", MaxUserIDLength); err != nil {
		return OrderRequest{}, err
	}
	if err := checkUserID(r.UserID); err != nil {
		return OrderRequest{}, err
	}
	if r.Amount, err = fields.money("amount", MaxAmount); err != nil {
		return OrderRequest{}, err
	}
	if r.Items, err = fields.texts("items", MaxItems); err != nil {
		return OrderRequest{}, err
	}
	return r, nil
}

// checkUserID refuses ids that a person could not see.
func checkUserID(id string) error {
	if strings.TrimSpace(id) == "" {
		return &FieldError{"userId", "is only white space", acceptedText(MaxUserIDLength)}
	}
	return nil
}
