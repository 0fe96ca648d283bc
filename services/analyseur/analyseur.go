// Package analyseur keeps running statistics of the payments decided: sums
// that cost the same to read however many payments there were.
//
// handler.go says how a record is counted, store.go what is kept, http.go what
// is answered; this file puts them together.
package analyseur

import (
	"context"
	"embed"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/service"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Name is the service's name in labels, logs and traces.
const Name = "analyseur"

// Definition is analyseur.
func Definition() service.Definition {
	return service.Definition{
		Name: Name, Does: "keep running statistics", Address: "127.0.0.1:3003",
		Migrations: migrations, OpenAPI: openAPI, Group: banking.GroupAnalyseur, Wire: wire,
		Consumes: banking.ReadBy(banking.GroupAnalyseur),
		Produces: []string{banking.TopicPaymentsDLQ},
	}
}

// Start starts analyseur and returns when it can answer.
func Start(ctx context.Context, settings service.Settings) (*service.Service, error) {
	return service.Start(ctx, settings, Definition())
}

func wire(ctx context.Context, b *service.Base) error {
	state := store{b.Store}
	if err := b.Prune(state.Forget); err != nil {
		return err
	}
	progress, err := service.ConsumeTracked(ctx, b, delivery.LoopConfig{Concurrency: 1},
		&counter{store: state, log: b.Log})
	if err != nil {
		return err
	}
	a := &api{store: state, log: b.Log, now: time.Now, started: time.Now(), catchingUp: progress.CatchingUp}
	a.serve(b.Router)
	return nil
}
