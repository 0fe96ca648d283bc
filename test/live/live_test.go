//go:build integration && unix

// Package live_test runs the shipped monitoring on the servers that it is
// written for (Prometheus, Alertmanager, the Collector, Jaeger, real Kafka),
// since a rule, a panel or an exporter that is only parsed may still show
// nothing.
//
// monitoring_test.go has targets, rules, alerts and recorded pages,
// dashboards_test.go the panels. lag_test.go compares our lag with Kafka's own,
// on the group of lagkafka_test.go, and laggroup_test.go that of the library's consumers. collector_test.go and tracing_test.go
// follow traces through the Collector to Jaeger, outage_test.go orders while
// the Collector is away. embedded_test.go compares what `vigie up` carries with a
// real Prometheus. live_test.go has what they share.
package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/system"
)

// patience bounds a hang: what is waited for takes seconds, or the time that a
// rule takes by design, and longer on a loaded machine.
const patience = 6 * time.Minute

// poll is how often it is checked.
const poll = 100 * time.Millisecond

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// eventually calls check until it returns nil.
func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// logOf is what a program has written to its log.
func logOf(t *testing.T, p *system.Program) string {
	t.Helper()
	text, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fetch reads a page.
func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, response.Status, err)
	}
	return string(body)
}

// post sends JSON; it must be taken.
func post(t *testing.T, url string, text []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %s, %v", url, response.Status, err)
	}
}

// metricsOf reads the page of metrics at an address.
func metricsOf(ctx context.Context, address string) (map[string]*dto.MetricFamily, error) {
	url := "http://" + address + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // no connection stays when the test ends
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	page, err := parser.TextToMetricFamilies(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	return page, nil
}

// total adds up the series that have the labels: values of counters and gauges,
// counts of histograms.
func total(page map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	var sum float64
	for _, series := range page[name].GetMetric() {
		has := 0
		for _, pair := range series.GetLabel() {
			if value, ok := labels[pair.GetName()]; ok && value == pair.GetValue() {
				has++
			}
		}
		if has == len(labels) {
			sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	return sum
}
