package banking

import (
	"time"

	"github.com/google/uuid"
)

// Event types, as they stand in the header eventType.
const (
	TypeOrderCreated      = "OrderCreated"
	TypePaymentAuthorized = "PaymentAuthorized"
	TypePaymentRejected   = "PaymentRejected"
)

// Statuses, one for each event type.
const (
	StatusCreated    = "CREATED"
	StatusAuthorized = "AUTHORIZED"
	StatusRejected   = "REJECTED"
)

// StatusPurged stands in paiement's ledger, and in no event: the order's payment
// was given up for good before it was decided.
const StatusPurged = "PURGED"

// Event is a fact that travels through Kafka: OrderCreated, PaymentAuthorized or
// PaymentRejected, always by value.
type Event interface {
	// ID is given once and is the same however often the event is published.
	ID() string
	// Type is one of the Type constants.
	Type() string
	// Order is the id of the order concerned, which is also the record's key.
	Order() string
	// Time is when the fact happened, not when it was published.
	Time() time.Time
}

// OrderCreated says that an order was taken. Its status is StatusCreated.
type OrderCreated struct {
	EventID   string    `json:"eventId"`
	OrderID   string    `json:"orderId"`
	UserID    string    `json:"userId"`
	Amount    Money     `json:"amount"`
	Items     []string  `json:"items"`
	Status    string    `json:"status"`
	CreatedAt time.Time `json:"createdAt"`
}

// PaymentAuthorized says that an order was paid. Its status is StatusAuthorized.
type PaymentAuthorized struct {
	EventID           string    `json:"eventId"`
	OrderID           string    `json:"orderId"`
	UserID            string    `json:"userId"`
	Amount            Money     `json:"amount"`
	Status            string    `json:"status"`
	AuthorizationCode string    `json:"authorizationCode"`
	ProcessedAt       time.Time `json:"processedAt"`
}

// PaymentRejected says that an order was refused payment. Its status is StatusRejected.
type PaymentRejected struct {
	EventID         string    `json:"eventId"`
	OrderID         string    `json:"orderId"`
	UserID          string    `json:"userId"`
	Amount          Money     `json:"amount"`
	Status          string    `json:"status"`
	RejectionReason string    `json:"rejectionReason"`
	ProcessedAt     time.Time `json:"processedAt"`
}

// ID returns EventID.
func (e OrderCreated) ID() string { return e.EventID }

// Type returns TypeOrderCreated.
func (e OrderCreated) Type() string { return TypeOrderCreated }

// Order returns OrderID.
func (e OrderCreated) Order() string { return e.OrderID }

// Time returns CreatedAt.
func (e OrderCreated) Time() time.Time { return e.CreatedAt }

// ID returns EventID.
func (e PaymentAuthorized) ID() string { return e.EventID }

// Type returns TypePaymentAuthorized.
func (e PaymentAuthorized) Type() string { return TypePaymentAuthorized }

// Order returns OrderID.
func (e PaymentAuthorized) Order() string { return e.OrderID }

// Time returns ProcessedAt.
func (e PaymentAuthorized) Time() time.Time { return e.ProcessedAt }

// ID returns EventID.
func (e PaymentRejected) ID() string { return e.EventID }

// Type returns TypePaymentRejected.
func (e PaymentRejected) Type() string { return TypePaymentRejected }

// Order returns OrderID.
func (e PaymentRejected) Order() string { return e.OrderID }

// Time returns ProcessedAt.
func (e PaymentRejected) Time() time.Time { return e.ProcessedAt }

// NewEventID returns a random UUID, version 4 (RFC 9562, section 5.4).
func NewEventID() string { return uuid.NewString() }

// ResultEventID returns the id of the event that decides originalEventID.
//
// It is a name-based UUID, version 5 (RFC 9562, section 5.5), in a namespace of
// Vigie's own, so that deciding the same event again, after a crash or by another
// instance, gives the same id and readers can drop the repetition.
func ResultEventID(originalEventID string) string {
	// A random UUID, chosen once. Changing it would change the id of every result
	// that is decided again.
	namespace := uuid.UUID{0x6f, 0x8c, 0x04, 0x76, 0xd0, 0x5d, 0x43, 0x4b, 0x9e, 0x6a, 0x51, 0xdf, 0x2c, 0xd2, 0xb2, 0xa7}
	return uuid.NewSHA1(namespace, []byte(originalEventID)).String()
}
