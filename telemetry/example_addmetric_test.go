package telemetry_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/telemetry"
)

// README.md shows the part between the two markers; a test in docs compares them.

// README begins

const paymentAmountEuros = "payment_amount_euros"

// 1. Declare the metric once, as data.
func paymentAmountCatalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: paymentAmountEuros, Kind: telemetry.Histogram,
		Help:   "Amounts of decided payments, in euros.",
		Labels: []string{"status"}, Bound: "authorized or rejected",
		Buckets: []float64{10, 100, 1000},
	}}
}

// 2. Make the instrument once, from its declaration, and each label set once.
func paymentAmounts(t *telemetry.Telemetry) (func(ctx context.Context, status string, euros float64), error) {
	amounts, err := t.Instruments().Float64Histogram(paymentAmountEuros)
	if err != nil {
		return nil, err
	}
	options := map[string][]metric.RecordOption{}
	for _, status := range []string{"authorized", "rejected"} {
		set := attribute.NewSet(attribute.String("status", status))
		options[status] = []metric.RecordOption{metric.WithAttributeSet(set)}
	}
	return func(ctx context.Context, status string, euros float64) {
		amounts.Record(ctx, euros, options[status]...) // 3. Measure.
	}, nil
}

// README ends

// A metric of a service's own: declared, made, measured, and on the page.
func Example_addMetric() {
	ctx := context.Background()
	tel, err := telemetry.Setup(ctx, telemetry.Config{
		Service: "paiement", Catalogue: paymentAmountCatalogue(), LogWriter: io.Discard,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(ctx) }()

	measure, err := paymentAmounts(tel)
	if err != nil {
		log.Fatal(err)
	}
	measure(ctx, "authorized", 100.50)
	measure(ctx, "authorized", 9.99)

	page := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		if strings.Contains(line, paymentAmountEuros) {
			fmt.Print(line)
		}
	}
	// Output:
	// # HELP payment_amount_euros Amounts of decided payments, in euros.
	// # TYPE payment_amount_euros histogram
	// payment_amount_euros_bucket{service="paiement",status="authorized",le="10"} 1
	// payment_amount_euros_bucket{service="paiement",status="authorized",le="100"} 1
	// payment_amount_euros_bucket{service="paiement",status="authorized",le="1000"} 2
	// payment_amount_euros_bucket{service="paiement",status="authorized",le="+Inf"} 2
	// payment_amount_euros_sum{service="paiement",status="authorized"} 110.49
	// payment_amount_euros_count{service="paiement",status="authorized"} 2
}
