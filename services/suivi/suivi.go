// Package suivi knows every order's status and history, gathered from what
// the other services publish.
//
// handler.go reads what a record says about an order, view.go has what an order
// looks like after it, store.go how that is kept, http.go what is answered;
// views.go has all but the answers without Kafka around it, and this file puts them together.
package suivi

import (
	"context"
	"embed"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/service"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Name is the service's name in labels, logs and traces.
const Name = "suivi"

// Definition is suivi.
func Definition() service.Definition {
	return service.Definition{
		Name: Name, Does: "show every order's status and history", Address: "127.0.0.1:3002",
		Migrations: migrations, OpenAPI: openAPI, Group: banking.GroupSuivi, Wire: wire,
		Consumes: banking.ReadBy(banking.GroupSuivi),
		Produces: []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ},
	}
}

// Start starts suivi and returns when it can answer.
func Start(ctx context.Context, settings service.Settings) (*service.Service, error) {
	return service.Start(ctx, settings, Definition())
}

func wire(ctx context.Context, b *service.Base) error {
	state := store{b.Store}
	a := &api{store: state, log: b.Log}
	if err := b.Prune(state.Forget); err != nil {
		return err
	}
	a.serve(b.Router)
	return service.Consume(ctx, b, delivery.LoopConfig{Concurrency: 1}, &tracker{store: state, log: b.Log})
}
