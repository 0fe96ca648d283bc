// Package commande takes orders over HTTP and publishes them. An order that
// got its 201 is in Kafka's log, whatever crashes afterwards.
//
//   - commande.go has its name, its metrics and its wiring.
//   - http.go takes orders: POST /orders.
//   - store.go gives orders their ids, and remembers them by their
//     idempotency keys; named.go has ids go on after those that the topics name,
//     and foreign.go leaves out those that others use.
//   - probe.go makes probes of the orders that bring a credential: they are no orders.
//   - desk.go has both without Kafka and HTTP around them.
package commande

import (
	"context"
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
)

// Name is the service's name in labels, logs and traces.
const Name = "commande"

// Names of the metrics that commande adds.
const (
	ordersTotal       = "orders_total"
	orderAmountsEuros = "order_amount_euros"
	ordersRepeated    = "orders_repeated_total"
	ordersForeign     = "order_ids_foreign_total"
)

// Catalogue returns the metrics that commande adds to the common ones.
func Catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{
		{
			Name: ordersTotal, Kind: telemetry.Counter, Documented: true,
			Help: "Orders that Kafka has acknowledged.", Bound: "one series",
		},
		{
			Name: orderAmountsEuros, Kind: telemetry.Histogram, Documented: true,
			Help: "Amounts of acknowledged orders, in euros.", Bound: "one series",
			Buckets: []float64{1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000},
		},
		{
			Name: ordersRepeated, Kind: telemetry.Counter, Labels: []string{"outcome"},
			Help:  "Requests whose Idempotency-Key had been used before, by how they were answered.",
			Bound: "3 outcomes: replayed (201 again), in_progress (409), mismatch (422)",
		},
		{
			Name: ordersForeign, Kind: telemetry.Counter, Labels: []string{"found"},
			Help:  "Orders that others have written under ids of commande's: ids yet to come, which are left out, or ids of orders that were taken.",
			Bound: "ahead or taken", MaxSeries: 2,
		},
	}
}

// Config holds commande's own settings.
type Config struct {
	// AckTimeout is how long an order waits for Kafka's acknowledgement
	// before it is answered with 503. Default 5 s.
	AckTimeout time.Duration
	// Probe is the credential by which an order is a probe; ProbeFile names a file with it,
	// which is made where it is not there, and read again when it changes. With neither there are no probes.
	Probe     secret.Value
	ProbeFile string
}

// DefaultAckTimeout is how long an order may wait for Kafka's acknowledgement
// where nothing else is set.
const DefaultAckTimeout = 5 * time.Second

// Definition is commande with its own settings.
func Definition(cfg Config) service.Definition {
	if cfg.AckTimeout <= 0 {
		cfg.AckTimeout = DefaultAckTimeout
	}
	return service.Definition{
		Name: Name, Does: "take orders over HTTP and publish them", Address: "127.0.0.1:3001",
		Catalogue: Catalogue(), Migrations: migrations, OpenAPI: openAPI,
		Produces: []string{banking.TopicOrdersCreated},
		Wire:     func(ctx context.Context, b *service.Base) error { return wire(ctx, b, cfg) },
	}
}

// Start starts commande and returns when it can take orders.
func Start(ctx context.Context, settings service.Settings, cfg Config) (*service.Service, error) {
	return service.Start(ctx, settings, Definition(cfg))
}

func wire(ctx context.Context, b *service.Base, cfg Config) error {
	known, others, err := openStore(ctx, b, cfg.AckTimeout)
	if err != nil {
		return err
	}
	found, err := b.Telemetry.Instruments().Int64Counter(ordersForeign)
	if err != nil {
		return err
	}
	others.count = counting(ctx, found)
	b.Stack.Go("others' orders", others.run)
	publisher, err := b.Publisher(ctx, 0) // the first order of several goes out at once
	if err != nil {
		return err
	}
	credential, err := b.MakeToken("the probe's credential", cfg.Probe, cfg.ProbeFile)
	if err != nil {
		return err
	}
	return serveOrders(ctx, b, &orders{
		keys: known, probes: &probes{credential, others.ids, func() (int32, error) { return partitionsOf(b.Control, banking.TopicOrdersCreated) }},
		publisher: publisher, others: others, instrument: b.Instrument, log: b.Log, lines: b.Orders, ackTimeout: cfg.AckTimeout, fault: b.Fault,
	})
}

// partitionsOf is how many partitions a topic has.
func partitionsOf(client *kafka.Client, topic string) (int32, error) {
	all, err := client.Partitions(topic)
	if err != nil {
		return 0, fmt.Errorf("look for the partitions of %s: %w", topic, err)
	}
	return int32(len(all)), nil //nolint:gosec // Kafka counts them so
}
