// Package suivi knows every order's status and history, gathered from what
// the other services publish.
package suivi

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/service"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Name is the service's name in labels, logs and traces.
const Name = "suivi"

// DefaultAddress is where suivi listens unless told otherwise.
const DefaultAddress = "127.0.0.1:3002"

const batchSize = 500

// Start starts suivi and returns when it can answer.
func Start(ctx context.Context, settings service.Settings) (*service.Service, error) {
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return service.Start(ctx, settings, service.Definition{
		Name: Name, Migrations: own, OpenAPI: openAPI, Group: banking.GroupSuivi, Wire: wire,
		Consumes: []string{
			banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ,
		},
		Produces: []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ},
	})
}

func wire(ctx context.Context, b *service.Base) error {
	a := &api{store: b.Store, log: b.Log}
	b.Router.Handle("GET /orders", a.list)
	b.Router.Handle("GET /orders/{id}/status", a.status)
	b.Prune(forget)
	return service.Consume(ctx, b, delivery.LoopConfig{Concurrency: 1, BatchSize: batchSize}, &tracker{store: b.Store, log: b.Log})
}
