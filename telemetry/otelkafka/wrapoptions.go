package otelkafka

import "github.com/IBM/sarama"

// HandlerOption adds to a handler made by [NewHandler] or [NewBatchHandler].
type HandlerOption func(*handlerOptions)

type handlerOptions struct {
	setup, cleanup func(sarama.ConsumerGroupSession) error
}

func handlerOptionsOf(options []HandlerOption) handlerOptions {
	var o handlerOptions
	for _, option := range options {
		option(&o)
	}
	return o
}

// OnSetup runs f when a session begins, as Setup of [sarama.ConsumerGroupHandler].
func OnSetup(f func(sarama.ConsumerGroupSession) error) HandlerOption {
	return func(o *handlerOptions) { o.setup = f }
}

// OnCleanup runs f when a session ends, as Cleanup of [sarama.ConsumerGroupHandler].
func OnCleanup(f func(sarama.ConsumerGroupSession) error) HandlerOption {
	return func(o *handlerOptions) { o.cleanup = f }
}

// Setup implements a part of [sarama.ConsumerGroupHandler].
func (o handlerOptions) Setup(session sarama.ConsumerGroupSession) error {
	if o.setup == nil {
		return nil
	}
	return o.setup(session)
}

// Cleanup implements a part of [sarama.ConsumerGroupHandler].
func (o handlerOptions) Cleanup(session sarama.ConsumerGroupSession) error {
	if o.cleanup == nil {
		return nil
	}
	return o.cleanup(session)
}
