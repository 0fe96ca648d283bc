package otelkafka

import (
	"errors"
	"fmt"
	"sync"

	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/telemetry"
)

// ObserveSarama puts what sarama itself measures of one client on the page: the metrics of [telemetry.SaramaMetrics],
// read from the client's registry (sarama.Config.MetricRegistry) while the page is made. client names the client
// in the label of that name ("producer", "consumer"). It starts no goroutine and nothing is measured twice.
// The function returned takes the series off the page.
//
// Counters do not go back when a connection closes: sarama then takes a broker's figures out of the registry and
// starts new ones from zero, and what they had counted is kept here. Only a connection that opens and closes again
// between two scrapes is not seen.
// Percentiles are sarama's own, of a sample that favours the last five minutes: see [telemetry.SaramaMetrics].
//
// Give each client a registry of its own, with sarama.Config.MetricRegistry = metrics.NewRegistry(). Where clients
// share one, as they do with a shared Config, the connection that closes first stops the counters of the others
// until they connect again; sarama does that, and nothing read from the registry can tell.
//
// It is an error to observe more than [telemetry.MaxSaramaClients] names in one service, or one name twice at a time.
func ObserveSarama(i *Instrumentation, client string, registry metrics.Registry) (unregister func() error, err error) {
	fail := func(err error) (func() error, error) {
		return nil, fmt.Errorf("observe sarama client %q: %w", client, err)
	}
	if registry == nil {
		return fail(errors.New("no registry"))
	}
	if client == "" || !i.instruments.Budget(telemetry.KafkaClientRecordsSentTotal, 0).Admit(client) {
		return fail(fmt.Errorf("want a name, and at most %d of them", telemetry.MaxSaramaClients))
	}
	if !i.observed.add(client) {
		return fail(errors.New("it is observed already"))
	}
	reader := newSaramaReader(client, registry, i.instruments.Budget(telemetry.KafkaClientRequestsTotal, telemetry.MaxSaramaClients))
	registration, err := i.instruments.Observe(telemetry.SaramaMetrics().Names(), reader.read)
	if err != nil {
		i.observed.remove(client)
		return fail(err)
	}
	return func() error {
		defer i.observed.remove(client)
		return registration.Unregister()
	}, nil
}

// observedClients are the names of the clients observed now.
type observedClients struct {
	mu    sync.Mutex
	names map[string]struct{}
}

func (o *observedClients) add(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.names[name]; ok {
		return false
	}
	if o.names == nil {
		o.names = make(map[string]struct{})
	}
	o.names[name] = struct{}{}
	return true
}

func (o *observedClients) remove(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.names, name)
}
