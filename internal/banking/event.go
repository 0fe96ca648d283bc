package banking

import "time"

// Event types, as they stand in the header HeaderEventType.
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
