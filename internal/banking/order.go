package banking

import (
	"fmt"
	"strings"
)

// Limits of an order, as documented for POST /orders.
const (
	// MaxUserIDLength is the longest user id, in Unicode code points.
	MaxUserIDLength = 128
	// MaxItems is the largest number of items in an order.
	MaxItems = 100
	// MaxAmount is the largest amount of an order, and so of every event:
	// 1,000,000.00 euros. A sum of 64 bits holds 92 billion of them.
	MaxAmount = Money(100_000_000)
	// MaxBody is the largest request body, in bytes.
	MaxBody = 64 << 10
)

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
	f := readFields(body, "userId", "amount", "items")
	r := OrderRequest{UserID: f.text("userId", MaxUserIDLength)}
	f.keep(checkUserID(r.UserID))
	r.Amount = f.amount()
	r.Items = f.texts("items", MaxItems)
	if f.err != nil {
		return OrderRequest{}, f.err
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
