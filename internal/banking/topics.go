package banking

import "time"

// Topics. The key of every record is the order id.
const (
	TopicOrdersCreated      = "orders.created"
	TopicPaymentsAuthorized = "payments.authorized"
	TopicPaymentsRejected   = "payments.rejected"
	TopicOrdersDLQ          = "orders.dlq"
	TopicPaymentsDLQ        = "payments.dlq"
)

// Partitions is the number of partitions of every topic.
const Partitions = 3

// Consumer groups, one for each service that reads.
const (
	GroupPaiement   = "paiement-svc"
	GroupSuivi      = "suivi-svc"
	GroupAnalyseur  = "analyseur-svc"
	GroupSentinelle = "sentinelle-svc"
)

const day = 24 * time.Hour

// Topic is what a topic is created with.
type Topic struct {
	Name       string
	Partitions int32
	Retention  time.Duration
}

// Topics returns every topic of the system, in a fresh slice and a stable order.
// Dead letters are kept longer than orders, as somebody has to look at them
// first. Decisions are kept longest: what was decided outlives what could be
// decided again, an order or a letter that holds one, and paiement's ledger can
// be rebuilt from them.
func Topics() []Topic {
	return []Topic{
		{TopicOrdersCreated, Partitions, 7 * day},
		{TopicPaymentsAuthorized, Partitions, 35 * day},
		{TopicPaymentsRejected, Partitions, 35 * day},
		{TopicOrdersDLQ, Partitions, 30 * day},
		{TopicPaymentsDLQ, Partitions, 30 * day},
	}
}

// ReadBy returns the topics that one of the groups reads, nil for another group.
func ReadBy(group string) []string {
	switch group {
	case GroupPaiement:
		return []string{TopicOrdersCreated, TopicOrdersDLQ}
	case GroupSuivi:
		return []string{TopicOrdersCreated, TopicPaymentsAuthorized, TopicPaymentsRejected, TopicOrdersDLQ}
	case GroupAnalyseur:
		return []string{TopicPaymentsAuthorized, TopicPaymentsRejected}
	case GroupSentinelle:
		return []string{TopicOrdersCreated, TopicPaymentsAuthorized, TopicPaymentsRejected, TopicOrdersDLQ, TopicPaymentsDLQ}
	default:
		return nil
	}
}

// TopicOf returns the topic that events of a type are published to, or "" for
// an unknown type.
func TopicOf(eventType string) string {
	switch eventType {
	case TypeOrderCreated:
		return TopicOrdersCreated
	case TypePaymentAuthorized:
		return TopicPaymentsAuthorized
	case TypePaymentRejected:
		return TopicPaymentsRejected
	default:
		return ""
	}
}

// DeadLetterTopic returns where the records of a topic that cannot be
// processed are set aside, or "" where they stay in place: a dead letter is
// not set aside again.
func DeadLetterTopic(topic string) string {
	switch topic {
	case TopicOrdersCreated:
		return TopicOrdersDLQ
	case TopicPaymentsAuthorized, TopicPaymentsRejected:
		return TopicPaymentsDLQ
	default:
		return ""
	}
}
