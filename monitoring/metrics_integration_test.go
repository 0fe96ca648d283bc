//go:build integration && unix

package monitoring_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

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
			if value, asked := labels[pair.GetName()]; asked && value == pair.GetValue() {
				has++
			}
		}
		if has == len(labels) {
			sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	return sum
}
