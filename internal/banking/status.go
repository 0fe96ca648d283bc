package banking

// OrderStatus is how far an order has come, as clients see it.
type OrderStatus string

// The statuses of an order, in the order in which they may follow each other.
const (
	OrderStatusCreated OrderStatus = "ORDER_CREATED"
	// OrderStatusFailed: paying it failed and the order is a dead letter; a
	// replay may still decide it.
	OrderStatusFailed     OrderStatus = "PAYMENT_FAILED"
	OrderStatusAuthorized OrderStatus = "PAYMENT_AUTHORIZED"
	OrderStatusRejected   OrderStatus = "PAYMENT_REJECTED"
)

// TypePaymentFailed is how a dead-lettered payment stands in an order's
// history, beside the types of the events. No record has it for its type.
const TypePaymentFailed = "PaymentFailed"

// MaxOrderEvents is how many events of one order its history keeps: an order
// has two, and one more for each failed try to pay it.
const MaxOrderEvents = 50

// OrderStatuses returns every status, the first first.
func OrderStatuses() []OrderStatus {
	return []OrderStatus{OrderStatusCreated, OrderStatusFailed, OrderStatusAuthorized, OrderStatusRejected}
}

// StatusAfter returns the status that an event gives to its order, by the
// event's type or [TypePaymentFailed]; "" for any other type.
func StatusAfter(eventType string) OrderStatus {
	switch eventType {
	case TypeOrderCreated:
		return OrderStatusCreated
	case TypePaymentFailed:
		return OrderStatusFailed
	case TypePaymentAuthorized:
		return OrderStatusAuthorized
	case TypePaymentRejected:
		return OrderStatusRejected
	default:
		return ""
	}
}

// Replaces says whether an order whose status is known to be old gets the
// status s when an event says so. Events come in any order, and a status never
// goes back: a decision is final, and a failed try says more than the creation.
func (s OrderStatus) Replaces(old OrderStatus) bool { return s.rank() > old.rank() }

// Decided says whether the order was authorized or rejected, which is final.
func (s OrderStatus) Decided() bool { return s == OrderStatusAuthorized || s == OrderStatusRejected }

// rank orders the statuses; what is no status comes before all of them.
func (s OrderStatus) rank() int {
	switch s {
	case OrderStatusCreated:
		return 1
	case OrderStatusFailed:
		return 2
	case OrderStatusAuthorized, OrderStatusRejected:
		return 3
	default:
		return 0
	}
}
