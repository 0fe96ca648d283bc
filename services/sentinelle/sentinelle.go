// Package sentinelle is the lookout: it looks at the bank from outside and shows
// what it sees as a page. It asks the services and Prometheus, keeps nothing, and
// answers also when nothing else does.
package sentinelle

import (
	"context"
	_ "embed" // for the document
	"net/http"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/telemetry"
)

//go:embed openapi.yaml
var openAPI []byte

// Name is the service's name in labels, logs and traces.
const Name = "sentinelle"

// Config has the settings of its own.
type Config struct {
	// Around is the bank that it looks at.
	Around service.Surroundings
}

// Definition is sentinelle.
func Definition(cfg Config) service.Definition {
	return service.Definition{
		Name: Name, Does: "look at the bank and show it as a page", Address: "127.0.0.1:3005",
		OpenAPI: openAPI, Outside: true, Catalogue: catalogue(),
		Wire: func(_ context.Context, b *service.Base) error { return wire(b, cfg) },
	}
}

// Start starts sentinelle and returns when it can answer.
func Start(ctx context.Context, settings service.Settings, cfg Config) (*service.Service, error) {
	return service.Start(ctx, settings, Definition(cfg))
}

// demoActive is the name of the metric that says whether this is a demonstration.
const demoActive = "demo_active"

func catalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: demoActive, Kind: telemetry.Gauge,
		Help: "1 where the orders are a demonstration's, else 0.",
	}}
}

// measure says in the metrics whether this is a demonstration.
func measure(instruments *telemetry.Instruments, demo bool) error {
	var value int64
	if demo {
		value = 1
	}
	_, err := instruments.Int64ObservableGauge(demoActive, func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(value)
		return nil
	})
	return err
}

func wire(b *service.Base, cfg Config) error {
	if err := measure(b.Telemetry.Instruments(), cfg.Around.Demo); err != nil {
		return err
	}
	p, err := newPage(cfg.Around)
	if err != nil {
		return err
	}
	b.Router.HandlePage(p.home)
	return nil
}

// page shows the bank.
type page struct {
	around service.Surroundings
	texts  *templates
}

func newPage(around service.Surroundings) (*page, error) {
	texts, err := parseTemplates()
	return &page{around, texts}, err
}

func (p *page) home(w http.ResponseWriter, _ *http.Request) {
	httpapi.WritePage(w, http.StatusOK, policy, p.texts.home, p.around)
}
