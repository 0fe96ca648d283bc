// Package promapi asks a Prometheus, ours or another's, for those who show what
// it knows. It exists so that every question has a bound on its time and on the
// answer's size, and every error says in one line whom it asked.
package promapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Bounds of a question where none are given.
const (
	DefaultTimeout   = 10 * time.Second
	DefaultMaxAnswer = 16 << 20 // bytes
)

// Config says whom to ask. Its zero fields have defaults, but for the URL.
type Config struct {
	URL       string            // of the Prometheus, such as http://127.0.0.1:9090
	Timeout   time.Duration     // of each question
	MaxAnswer int64             // bytes of an answer's body; one that is longer is an error
	Transport http.RoundTripper // how requests are sent; closed with [Client.Close] where it is ours
}

// Client asks one Prometheus. It is safe for concurrent use.
type Client struct {
	url     string
	timeout time.Duration
	api     v1.API
	close   func()
}

// New makes a client. It does not ask anything yet.
func New(cfg Config) (*Client, error) {
	target, err := url.Parse(cfg.URL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, fmt.Errorf("%q is not a URL such as http://127.0.0.1:9090", cfg.URL)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxAnswer <= 0 {
		cfg.MaxAnswer = DefaultMaxAnswer
	}
	closing := func() {}
	if cfg.Transport == nil {
		own := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute}
		cfg.Transport, closing = own, own.CloseIdleConnections
	}
	client, err := api.NewClient(api.Config{Address: cfg.URL, RoundTripper: bounded{cfg.Transport, cfg.MaxAnswer}})
	if err != nil {
		return nil, fmt.Errorf("Prometheus at %s: %w", target.Redacted(), err) //nolint:revive,staticcheck // a name
	}
	return &Client{url: target.Redacted(), timeout: cfg.Timeout, api: v1.NewAPI(client), close: closing}, nil
}

// URL is whom the client asks, without a password.
func (c *Client) URL() string { return c.url }

// Close closes the connections that wait for a next question.
func (c *Client) Close() { c.close() }

// Vector is a query's value at one moment; empty where there is no data.
func (c *Client) Vector(ctx context.Context, query string, at time.Time) (model.Vector, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, _, _, err := c.api.Query(ctx, query, at, v1.WithTimeout(c.timeout))
	if err != nil {
		return nil, c.failed("query", err)
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("query %s: %s is no vector", query, value.Type())
	}
	return vector, nil
}

// Matrix is a query's values from start to end, a step apart; empty where there
// is no data.
func (c *Client) Matrix(ctx context.Context, query string, start, end time.Time, step time.Duration) (model.Matrix, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, _, _, err := c.api.QueryRange(ctx, query, v1.Range{Start: start, End: end, Step: step}, v1.WithTimeout(c.timeout))
	if err != nil {
		return nil, c.failed("query", err)
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("query %s: %s is no matrix", query, value.Type())
	}
	return matrix, nil
}

// Rules are the rules with their alerts, as Prometheus last evaluated them.
func (c *Client) Rules(ctx context.Context) ([]v1.RuleGroup, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	result, err := c.api.Rules(ctx, nil)
	if err != nil {
		return nil, c.failed("rules", err)
	}
	return result.Groups, nil
}

// SeverityNone is the severity of alerts that say nothing of the system: the one that
// always fires, so that somebody outside notices when it stops.
const SeverityNone = "none"

// Alerting are the alerting rules among the groups', each with its group's name, but for
// those of [SeverityNone].
func Alerting(groups []v1.RuleGroup) iter.Seq2[string, v1.AlertingRule] {
	return func(yield func(string, v1.AlertingRule) bool) {
		for _, group := range groups {
			for _, any := range group.Rules {
				if rule, ok := any.(v1.AlertingRule); ok && rule.Labels["severity"] != SeverityNone && !yield(group.Name, rule) {
					return
				}
			}
		}
	}
}

// Urgency sorts alerts by what to look at first: those that fire, of them the
// critical ones.
func Urgency(state, severity string) int {
	switch firing := state == string(v1.AlertStateFiring); {
	case firing && severity == "critical":
		return 0
	case firing:
		return 1
	default:
		return 2
	}
}

// Labels are a set of labels as text.
func Labels(set model.LabelSet) map[string]string {
	labels := make(map[string]string, len(set))
	for name, value := range set {
		labels[string(name)] = string(value)
	}
	return labels
}

// failed says in one line what Prometheus, or the way to it, answered.
func (c *Client) failed(what string, err error) error {
	if sent, ok := errors.AsType[*url.Error](err); ok {
		err = sent.Err // the request is named already
	}
	if answer, ok := errors.AsType[*v1.Error](err); ok {
		return fmt.Errorf("Prometheus at %s, %s: %s", c.url, what, strings.ReplaceAll(answer.Error(), "\n", " ")) //nolint:revive,staticcheck // a name
	}
	return fmt.Errorf("Prometheus at %s does not answer (%s): %w", c.url, what, err) //nolint:revive,staticcheck // a name
}

// bounded cuts answers that are too long, which is an error to their reader.
type bounded struct {
	next http.RoundTripper
	most int64
}

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, b.most)
	}
	return response, err
}
