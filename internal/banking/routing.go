package banking

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
