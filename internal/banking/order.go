package banking

import (
	"fmt"
	"strconv"
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

const orderPrefix = "order-"

// OrderID returns the id of the order with a number.
func OrderID(number int64) string { return orderPrefix + strconv.FormatInt(number, 10) }

// OrderNumber returns the number in an order's id, and whether there is one. It is lenient:
// of two ids with one number only [OrderID]'s is commande's.
func OrderNumber(orderID string) (number int64, ok bool) {
	text, ok := strings.CutPrefix(orderID, orderPrefix)
	number, err := strconv.ParseInt(text, 10, 64)
	return number, ok && err == nil
}

// GivenNumber is [OrderNumber] of an id in the one form that [OrderID] gives.
func GivenNumber(orderID string) (number int64, ok bool) {
	number, ok = OrderNumber(orderID)
	return number, ok && OrderID(number) == orderID
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
