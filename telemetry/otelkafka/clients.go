package otelkafka

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/IBM/sarama"
)

// NewSyncProducer is [sarama.NewSyncProducer] with everything of this package on it: spans and counts as
// [WrapSyncProducer] gives them, no headers where config's Version has none, which a line of the log then says, and
// what sarama itself measures, as [ObserveSarama] shows it until the producer is closed. The client's name there is
// "producer", after the ClientID if one is set: "orders-producer". config nil stands for sarama's default.
//
// It fails if i is nil, and where sarama's does.
func NewSyncProducer(addrs []string, config *sarama.Config, i *Instrumentation) (sarama.SyncProducer, error) {
	if config == nil {
		config = sarama.NewConfig()
		config.Producer.Return.Successes = true // as a synchronous producer needs it
	}
	return newSync(config, i, func() (sarama.SyncProducer, error) { return sarama.NewSyncProducer(addrs, config) })
}

// NewSyncProducerFromClient is [NewSyncProducer] by a client that is there, and stays the caller's to close.
func NewSyncProducerFromClient(client sarama.Client, i *Instrumentation) (sarama.SyncProducer, error) {
	if isNil(client) {
		return nil, errors.New("make a synchronous producer: the client is nil")
	}
	return newSync(client.Config(), i, func() (sarama.SyncProducer, error) { return sarama.NewSyncProducerFromClient(client) })
}

func newSync(config *sarama.Config, i *Instrumentation, dial func() (sarama.SyncProducer, error)) (sarama.SyncProducer, error) {
	if i == nil {
		return nil, errors.New("make a synchronous producer: the instrumentation is nil")
	}
	plain, err := dial()
	if err != nil {
		return nil, fmt.Errorf("make a synchronous producer: %w", err)
	}
	i.reportHeaderless(config)
	return &syncProducer{
		SyncProducer: plain, inst: i, headerless: !hasHeaders(config), unobserve: i.observeClient(config, "producer"),
	}, nil
}

// NewAsyncProducer is [sarama.NewAsyncProducer] with everything of this package on it, as [WrapAsyncProducer] and
// [ObserveSarama] give it; see [NewSyncProducer]. config nil stands for sarama's default.
//
// It fails if i is nil, and where sarama's does.
func NewAsyncProducer(
	addrs []string, config *sarama.Config, i *Instrumentation, options ...AsyncOption,
) (sarama.AsyncProducer, error) {
	if config == nil {
		config = sarama.NewConfig()
	}
	return newAsync(config, i, options, func() (sarama.AsyncProducer, error) { return sarama.NewAsyncProducer(addrs, config) })
}

// NewAsyncProducerFromClient is [NewAsyncProducer] by a client that is there, and stays the caller's to close.
func NewAsyncProducerFromClient(client sarama.Client, i *Instrumentation, options ...AsyncOption) (sarama.AsyncProducer, error) {
	if isNil(client) {
		return nil, errors.New("make an asynchronous producer: the client is nil")
	}
	dial := func() (sarama.AsyncProducer, error) { return sarama.NewAsyncProducerFromClient(client) }
	return newAsync(client.Config(), i, options, dial)
}

func newAsync(
	config *sarama.Config, i *Instrumentation, options []AsyncOption, dial func() (sarama.AsyncProducer, error),
) (sarama.AsyncProducer, error) {
	if i == nil {
		return nil, errors.New("make an asynchronous producer: the instrumentation is nil")
	}
	plain, err := dial()
	if err != nil {
		return nil, fmt.Errorf("make an asynchronous producer: %w", err)
	}
	unobserve := i.observeClient(config, "producer")
	options = append([]AsyncOption{func(p *asyncProducer) { p.unobserve = unobserve }}, options...)
	return WrapAsyncProducer(plain, config, i, options...), nil
}

// isNil also finds the nil pointer in an interface, which fails far from where it was made.
func isNil(thing any) bool {
	v := reflect.ValueOf(thing)
	return !v.IsValid() || (v.Kind() == reflect.Pointer && v.IsNil())
}

// hasHeaders says whether Kafka knows headers in the protocol's version of that configuration.
func hasHeaders(config *sarama.Config) bool { return config.Version.IsAtLeast(sarama.V0_11_0_0) }

func (i *Instrumentation) reportHeaderless(config *sarama.Config) {
	if !hasHeaders(config) {
		i.logger.Warn("records carry no trace context: the protocol's version has no headers", "version", config.Version.String())
	}
}

// observeClient is [ObserveSarama] for a client that is made here, until the function returned is called. One that there
// is no room for works all the same, as does one without a registry: a line of the log says what is missing.
func (i *Instrumentation) observeClient(config *sarama.Config, kind string) (unobserve func()) {
	name := kind
	if id := config.ClientID; id != "" && id != sarama.NewConfig().ClientID {
		name = id + "-" + kind
	}
	unregister, err := ObserveSarama(i, name, config.MetricRegistry)
	if err != nil {
		i.logger.Warn("what sarama measures of a client is not shown", "error", err)
		return func() {}
	}
	return sync.OnceFunc(func() {
		if err := unregister(); err != nil {
			i.logger.Warn("what sarama measured of a client stays on the page", "client", name, "error", err)
		}
	})
}
