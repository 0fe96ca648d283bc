package otelkafka

import "github.com/IBM/sarama"

// Watch returns the handler with every session seen as it begins and ends. It needs no calls of [Rebalances.Setup]
// and [Rebalances.Cleanup].
func (r *Rebalances) Watch(handler sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return watchedHandler{handler, r}
}

type watchedHandler struct {
	sarama.ConsumerGroupHandler
	rebalances *Rebalances
}

// Setup implements [sarama.ConsumerGroupHandler].
func (h watchedHandler) Setup(session sarama.ConsumerGroupSession) error {
	_ = h.rebalances.Setup(session) // has no error
	return h.ConsumerGroupHandler.Setup(session)
}

// Cleanup implements [sarama.ConsumerGroupHandler].
func (h watchedHandler) Cleanup(session sarama.ConsumerGroupSession) error {
	_ = h.rebalances.Cleanup(session) // has no error
	return h.ConsumerGroupHandler.Cleanup(session)
}
