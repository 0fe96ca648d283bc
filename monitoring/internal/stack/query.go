//go:build unix

package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/vigie-dev/vigie/monitoring/internal/servers"
)

// Sample is one series of an instant query's answer.
type Sample struct {
	Metric map[string]string
	// Value is a time and a number, the latter as text.
	Value [2]any
}

// Query asks Prometheus for the value of an expression now. An answer without
// series is no error.
func (s *Stack) Query(ctx context.Context, expression string) ([]Sample, error) {
	return query(ctx, s.Prometheus, expression)
}

// API reads the data of an answer of Prometheus's HTTP API.
func (s *Stack) API(ctx context.Context, path string, data any) error {
	return askPrometheus(ctx, s.Prometheus, path, data)
}

func query(ctx context.Context, prometheus *servers.Server, expression string) ([]Sample, error) {
	var answer struct {
		Result []Sample
	}
	if err := askPrometheus(ctx, prometheus, "/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	return answer.Result, nil
}

func askPrometheus(ctx context.Context, prometheus *servers.Server, path string, data any) error {
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := Get(ctx, prometheus.URL(path), &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("GET %s: %s", path, answer.Error)
	}
	return nil
}

// Get reads an answer in JSON, whatever its status.
func Get(ctx context.Context, url string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	request.Close = true // no connection stays when the test ends
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("read answer of %s, %s: %w", url, response.Status, err)
	}
	return nil
}
