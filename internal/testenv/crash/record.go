package crash

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	vigie "github.com/vigie-dev/vigie/internal/record"
)

// position is where a record stands.
type position = vigie.Place

// record is a record of a topic as this package reads it.
type record struct {
	position
	Key     string
	Value   []byte
	Headers map[string]string // the first of each name
}

// event is what a record's value says; absent fields are empty.
type event struct {
	EventID string      `json:"eventId"`
	OrderID string      `json:"orderId"`
	UserID  string      `json:"userId"`
	Amount  json.Number `json:"amount"`
	Status  string      `json:"status"`
}

// decode reads an event out of a record and holds it against the record's key
// and headers.
func decode(r record) (e event, amount int64, err error) {
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return e, 0, fmt.Errorf("%s: %w", r.position, err)
	}
	switch {
	case e.OrderID != r.Key:
		return e, 0, fmt.Errorf("%s: key %q, orderId %q", r.position, r.Key, e.OrderID)
	case e.EventID == "" || e.EventID != r.Headers["eventId"]:
		return e, 0, fmt.Errorf("%s: eventId %q, header %q", r.position, e.EventID, r.Headers["eventId"])
	}
	amount, err = cents(e.Amount)
	if err != nil {
		return e, 0, fmt.Errorf("%s: %w", r.position, err)
	}
	return e, amount, nil
}

// cents reads an amount with at most two decimals, exactly.
func cents(n json.Number) (int64, error) {
	euros, part, _ := strings.Cut(n.String(), ".")
	if euros == "" || len(part) > 2 {
		return 0, fmt.Errorf("amount %q is not one of at most two decimals", n)
	}
	sum, err := strconv.ParseInt(euros+(part + "00")[:2], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("amount %q is not a number: %w", n, err)
	}
	return sum, nil
}

// euros writes cents as clients send them.
func euros(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
