// Package top shows a running system in a terminal: what a Prometheus knows of
// its orders, decisions, latencies, lag, dead letters, alerts and services. It
// exists for those who have a shell and no browser, and for scripts. What
// Prometheus does not know is unknown here, never 0.
//
// top.go asks for a frame, text.go writes one, and screen.go keeps one up to date
// on a terminal.
package top

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/promapi"
)

// Service is one service of the system that is looked at.
type Service struct {
	Name  string
	Group string // its consumer group, "" where it reads no topic
}

// Frame is the system at one moment. Its JSON form is documented in
// docs/operations.md and changes by addition only; null is what Prometheus does
// not know.
type Frame struct {
	At         time.Time `json:"at"`
	Prometheus string    `json:"prometheus"`
	// Problem is why parts of the frame are unknown, "" where nothing failed.
	Problem string `json:"problem,omitempty"`

	Services    []Readiness `json:"services"`
	Orders      Orders      `json:"orders"`
	Decisions   Decisions   `json:"decisions"`
	Latency     []Latency   `json:"latency"`
	Lag         []Lag       `json:"lag"`
	DeadLetters *[]Letters  `json:"deadLetters"` // set aside in the last ten minutes
	Alerts      *[]Alert    `json:"alerts"`      // firing first, then pending
}

// Readiness is whether a service can do its work: ready, not ready, down (it
// could not be scraped) or unknown.
type Readiness struct {
	Service string `json:"service"`
	State   string `json:"state"`
}

// The states of a service.
const (
	Ready    = "ready"
	NotReady = "not ready"
	Down     = "down"
	Unknown  = "unknown"
)

// Orders are those of the last minute, a second.
type Orders struct {
	Accepted *float64 `json:"acceptedPerSecond"`
	Refused  *float64 `json:"refusedPerSecond"` // answered with 4xx
	Failed   *float64 `json:"failedPerSecond"`  // answered with 5xx
}

// Decisions are those of the last minute, a second.
type Decisions struct {
	Authorized *float64 `json:"authorizedPerSecond"`
	Rejected   *float64 `json:"rejectedPerSecond"`
}

// Latency is how long something took in the last five minutes. Quantiles are
// also null where it did not happen, and the rate is 0.
type Latency struct {
	Of   string   `json:"of"`
	Rate *float64 `json:"perSecond"`
	P50  *float64 `json:"p50Seconds"`
	P95  *float64 `json:"p95Seconds"`
	P99  *float64 `json:"p99Seconds"`
}

// Lag is what a consumer group has left to process of one topic. A group of which
// nothing is known has one entry, without a topic.
type Lag struct {
	Group   string   `json:"group"`
	Topic   string   `json:"topic"`
	Records *float64 `json:"records"`
	Seconds *float64 `json:"seconds"` // the age of the oldest of them
}

// Letters are records that were set aside.
type Letters struct {
	Topic   string  `json:"topic"`
	Reason  string  `json:"reason"`
	Service string  `json:"service"`
	Count   float64 `json:"count"`
}

// Alert is one that fires or is about to.
type Alert struct {
	Name     string            `json:"name"`
	Severity string            `json:"severity"`
	State    string            `json:"state"` // firing or pending
	Since    time.Time         `json:"since"`
	Summary  string            `json:"summary"`
	Runbook  string            `json:"runbook"`
	Labels   map[string]string `json:"labels"`
}

// Firing says whether the alert fires.
func (a Alert) Firing() bool { return a.State == string(v1.AlertStateFiring) }

// Watcher asks for frames.
type Watcher struct {
	Prometheus *promapi.Client
	Services   []Service
	Now        func() time.Time
	// Words says an error in words for people; nil takes the error's own.
	Words func(error) string
}

// Look asks for everything side by side. It does not fail: what it does not get
// is unknown in the frame, which says why.
func (w Watcher) Look(ctx context.Context) Frame {
	f := Frame{At: w.Now().UTC(), Prometheus: w.Prometheus.URL()}
	q := &questions{ctx: ctx, prometheus: w.Prometheus, at: f.At, answers: map[string]model.Vector{}, words: w.Words}
	if q.words == nil {
		q.words = error.Error
	}
	q.group.SetLimit(8)
	for name, query := range queries() {
		q.ask(name, query)
	}
	q.group.Go(func() error {
		alerts, err := q.alerts()
		if err != nil {
			return q.failed(err)
		}
		f.Alerts = &alerts
		return nil
	})
	_ = q.group.Wait()
	f.Problem = q.problem()
	f.Services = w.readiness(q)
	f.Orders = Orders{Accepted: q.one("orders"), Refused: q.one("refused"), Failed: q.one("failed")}
	f.Decisions = Decisions{Authorized: q.of("decisions", "status", "authorized"), Rejected: q.of("decisions", "status", "rejected")}
	f.Latency = w.latency(q)
	f.Lag = w.lag(q)
	f.DeadLetters = deadLetters(q)
	return f
}

// queries are what a frame is made of, in PromQL. Counters that can be zero are
// exported as zero, so that a sum is missing only where nothing was scraped; of
// HTTP status codes there are no such zeros, hence the `or`.
func queries() map[string]string {
	const posted = `http_requests_total{service="commande",method="POST",route="/orders",status_code=~"%s.."}`
	const answered = "sum(rate(" + posted + "[1m])) or 0 * sum(rate(orders_total[1m]))"
	const posts = `http_request_duration_seconds_%s{service="commande",method="POST",route="/orders"}[5m]`
	all := map[string]string{
		"up":        `min by (service) (up{job="services"})`,
		"ready":     "min by (service) (service_ready)",
		"orders":    "sum(rate(orders_total[1m]))",
		"refused":   fmt.Sprintf(answered, "4"),
		"failed":    fmt.Sprintf(answered, "5"),
		"decisions": "sum by (status) (rate(payments_total[1m]))",
		"lag":       "sum by (service, topic) (kafka_consumer_lag)",
		"age":       "max by (service, topic) (kafka_consumer_lag_seconds)",
		"letters":   "sum by (topic, reason, service) (increase(kafka_dead_letters_total[10m]))",
		"posts":     "sum(rate(" + fmt.Sprintf(posts, "count") + ")) or 0 * sum(rate(orders_total[5m]))",
		"processed": "sum by (service) (rate(kafka_message_processing_duration_seconds_count[5m]))",
	}
	for name, q := range quantiles() {
		all["posts "+name] = fmt.Sprintf("histogram_quantile(%s, sum by (le) (rate(%s)))", q, fmt.Sprintf(posts, "bucket"))
		all["processed "+name] = fmt.Sprintf("histogram_quantile(%s, sum by (service, le) (rate(kafka_message_processing_duration_seconds_bucket[5m])))", q)
	}
	return all
}

func quantiles() map[string]string {
	return map[string]string{"p50": "0.5", "p95": "0.95", "p99": "0.99"}
}

// questions are those of one frame, with their answers by name.
type questions struct {
	ctx        context.Context //nolint:containedctx // of one call of Look
	prometheus *promapi.Client
	at         time.Time
	words      func(error) string
	group      errgroup.Group

	mu      sync.Mutex
	answers map[string]model.Vector
	errs    []error
}

func (q *questions) ask(name, query string) {
	q.group.Go(func() error {
		vector, err := q.prometheus.Vector(q.ctx, query, q.at)
		if err != nil {
			return q.failed(err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.answers[name] = vector
		return nil
	})
}

// failed keeps an error; the other questions go on.
func (q *questions) failed(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.errs = append(q.errs, err)
	return nil
}

// problem is one error of all: where Prometheus is away, each says the same.
func (q *questions) problem() string {
	if len(q.errs) == 0 {
		return ""
	}
	texts := make([]string, len(q.errs))
	for i, err := range q.errs {
		texts[i] = q.words(err)
	}
	return slices.Min(texts)
}

// one is the value of a query that has at most one.
func (q *questions) one(name string) *float64 {
	if found := q.answers[name]; len(found) == 1 {
		return known(found[0])
	}
	return nil
}

// of is the value that a query has for one value of a label.
func (q *questions) of(name string, label model.LabelName, value string) *float64 {
	for _, sample := range q.answers[name] {
		if string(sample.Metric[label]) == value {
			return known(sample)
		}
	}
	return nil
}

// known is a sample's value; NaN is what is not known.
func known(s *model.Sample) *float64 {
	value := float64(s.Value)
	if math.IsNaN(value) {
		return nil
	}
	return &value
}

func (w Watcher) readiness(q *questions) []Readiness {
	out := []Readiness{}
	for _, s := range w.Services {
		up, ready, state := q.of("up", "service", s.Name), q.of("ready", "service", s.Name), Unknown
		switch {
		case up != nil && *up == 0:
			state = Down
		case ready != nil && *ready == 0:
			state = NotReady
		case up != nil && ready != nil:
			state = Ready
		}
		out = append(out, Readiness{s.Name, state})
	}
	return out
}

func (w Watcher) latency(q *questions) []Latency {
	out := []Latency{{Of: "POST /orders", Rate: q.one("posts"), P50: q.one("posts p50"), P95: q.one("posts p95"), P99: q.one("posts p99")}}
	for _, s := range w.Services {
		if s.Group == "" {
			continue
		}
		of := func(name string) *float64 { return q.of(name, "service", s.Name) }
		out = append(out, Latency{
			Of: s.Name, Rate: of("processed"), P50: of("processed p50"), P95: of("processed p95"), P99: of("processed p99"),
		})
	}
	return out
}

func (w Watcher) lag(q *questions) []Lag {
	out := []Lag{}
	for _, s := range w.Services {
		if s.Group == "" {
			continue
		}
		topics := map[string]Lag{}
		for _, sample := range q.answers["lag"] {
			if topic := string(sample.Metric["topic"]); string(sample.Metric["service"]) == s.Name {
				topics[topic] = Lag{Group: s.Group, Topic: topic, Records: known(sample)}
			}
		}
		for _, sample := range q.answers["age"] {
			if topic := string(sample.Metric["topic"]); string(sample.Metric["service"]) == s.Name {
				lag := topics[topic]
				lag.Group, lag.Topic, lag.Seconds = s.Group, topic, known(sample)
				topics[topic] = lag
			}
		}
		if len(topics) == 0 {
			out = append(out, Lag{Group: s.Group})
		}
		for _, topic := range slices.Sorted(maps.Keys(topics)) {
			out = append(out, topics[topic])
		}
	}
	return out
}

// deadLetters are nil where nothing is known of them, and empty where there are none.
func deadLetters(q *questions) *[]Letters {
	samples := q.answers["letters"]
	if len(samples) == 0 {
		return nil
	}
	out := []Letters{}
	for _, s := range samples {
		// An increase is extrapolated: what is there is one at least.
		if s.Value > 0 {
			out = append(out, Letters{
				string(s.Metric["topic"]), string(s.Metric["reason"]), string(s.Metric["service"]), max(1, math.Round(float64(s.Value))),
			})
		}
	}
	slices.SortFunc(out, func(a, b Letters) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Service, b.Service))
	})
	return &out
}

// errNoRules: nobody would have raised an alert.
var errNoRules = errors.New("has no alerting rules that work")

// alerts asks the rules, not the alerts: where no rule is evaluated, that none
// fires says nothing.
func (q *questions) alerts() ([]Alert, error) {
	groups, err := q.prometheus.Rules(q.ctx)
	if err != nil {
		return nil, err
	}
	out, rules := []Alert{}, 0
	for _, rule := range promapi.Alerting(groups) {
		if rule.Health != v1.RuleHealthGood {
			continue
		}
		rules++
		for _, a := range rule.Alerts {
			out = append(out, alert(rule.Name, a))
		}
	}
	if rules == 0 {
		return nil, fmt.Errorf("Prometheus at %s %w", q.prometheus.URL(), errNoRules) //nolint:revive,staticcheck // a name
	}
	slices.SortStableFunc(out, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(promapi.Urgency(a.State, a.Severity), promapi.Urgency(b.State, b.Severity)), a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Summary, b.Summary))
	})
	return out, nil
}

func alert(name string, a *v1.Alert) Alert {
	labels := promapi.Labels(a.Labels)
	return Alert{
		Name: name, Severity: labels["severity"], State: string(a.State), Since: a.ActiveAt.UTC(),
		Summary: string(a.Annotations["summary"]), Runbook: string(a.Annotations["runbook_url"]), Labels: labels,
	}
}
