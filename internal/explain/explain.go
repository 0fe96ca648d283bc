package explain

import (
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/vigie-dev/vigie/internal/promapi"
)

// What an alert does now.
const (
	Firing   = "firing"
	Pending  = "pending"
	Inactive = "inactive"
	// Unknown: Prometheus does not answer, or does not evaluate the alert.
	Unknown = "unknown"
)

// Bounds of what a report names.
const (
	maxSamples = 10 // of one query
	maxOrders  = 5
)

// Order is one that an alert is about, with the letter that it waits for and the
// trace that it belongs to; "" where there is none.
type Order struct {
	ID     string `json:"id"`
	Letter string `json:"letter,omitempty"`
	Reason string `json:"reason,omitempty"`
	Trace  string `json:"trace,omitempty"`
}

// Source is what is asked besides Prometheus. A nil function is not asked.
type Source struct {
	Prometheus *promapi.Client
	// Groups are the consumer groups of services, by their names.
	Groups map[string]string
	// Letters returns the orders behind dead letters, at most so many; an empty
	// reason stands for any.
	Letters func(ctx context.Context, reason string, limit int) ([]Order, error)
	// Waiting returns orders that wait for their decision, at most so many.
	Waiting func(ctx context.Context, limit int) ([]Order, error)
	// Words puts an error in words for people.
	Words func(error) string
}

// Report is what is known of an alert. Its fields are added to, never renamed.
type Report struct {
	Alert
	Prometheus string `json:"prometheus"` // whom it was asked of
	State      string `json:"state"`      // Firing, Pending, Inactive or Unknown
	Why        string `json:"why,omitempty"`
	// Instances are the alert's, one for each set of labels, firing ones first.
	Instances []Instance `json:"instances"`
	Answers   []Answer   `json:"queries"`
	// Partitions are those behind an alert about a consumer group, the worst first.
	Partitions []Partition `json:"partitions"`
	Orders     []Order     `json:"orders"`
	Notes      []string    `json:"notes,omitempty"` // what could not be found out
}

// Instance is an alert for one set of labels.
type Instance struct {
	State   string            `json:"state"`
	Since   time.Time         `json:"since"`
	Value   string            `json:"value"`
	Summary string            `json:"summary"`
	Labels  map[string]string `json:"labels"`
}

// Answer is what one query of the runbook finds.
type Answer struct {
	Query   string   `json:"query"`
	Comment string   `json:"comment,omitempty"`
	Samples []Sample `json:"samples"`
	Left    int      `json:"left,omitempty"` // samples that are not named
	Error   string   `json:"error,omitempty"`
}

// Sample is one series' value; a value that is no number is null in JSON.
type Sample struct {
	Labels map[string]string `json:"labels"`
	Value  *float64          `json:"value"`
}

// Partition is one that a consumer group is behind on.
type Partition struct {
	Service   string  `json:"service"`
	Group     string  `json:"group"`
	Topic     string  `json:"topic"`
	Partition string  `json:"partition"`
	Seconds   float64 `json:"seconds"` // the age of its oldest unprocessed record
}

// Explain finds out what there is to know of an alert. What does not answer is
// named in the report, and the rest is reported.
func Explain(ctx context.Context, source Source, alert Alert, now time.Time) Report {
	r := Report{
		Alert: alert, Prometheus: source.Prometheus.URL(), State: Unknown,
		Instances: []Instance{}, Answers: []Answer{}, Partitions: []Partition{}, Orders: []Order{},
	}
	groups, err := source.Prometheus.Rules(ctx)
	if err != nil {
		r.Why = source.Words(err)
		r.orders(ctx, source)
		return r
	}
	r.takeState(groups)
	for _, q := range alert.Queries {
		r.Answers = append(r.Answers, ask(ctx, source, r.fit(q), now))
	}
	r.partitions(ctx, source, now)
	r.orders(ctx, source)
	return r
}

// takeState finds the alert among the rules that Prometheus evaluates.
func (r *Report) takeState(groups []v1.RuleGroup) {
	r.Why = "this Prometheus does not evaluate the alert"
	for _, rule := range promapi.Alerting(groups) {
		if rule.Name != r.Name {
			continue
		}
		switch rule.Health {
		case v1.RuleHealthBad:
			r.Why = "its rule fails: " + rule.LastError
			return
		case v1.RuleHealthUnknown:
			r.Why = "Prometheus has just started and not evaluated its rule yet"
			return
		case v1.RuleHealthGood:
		}
		r.State, r.Why = rule.State, ""
		for _, a := range rule.Alerts {
			r.Instances = append(r.Instances, Instance{
				State: string(a.State), Since: a.ActiveAt, Value: a.Value,
				Summary: string(a.Annotations["summary"]), Labels: own(model.Metric(a.Labels)),
			})
		}
	}
	slices.SortStableFunc(r.Instances, func(a, b Instance) int { return strings.Compare(a.State, b.State) }) // firing before pending
}

// own are a series' labels without what every series of the alert has.
func own(metric model.Metric) map[string]string {
	labels := map[string]string{}
	for name, value := range metric {
		if name != model.AlertNameLabel && name != "severity" {
			labels[string(name)] = string(value)
		}
	}
	return labels
}

// fit asks a runbook's question about what the alert fires for: its queries name
// one service or topic for an example.
func (r *Report) fit(q Query) Query {
	if len(r.Instances) == 0 {
		return q
	}
	labels := r.Instances[0].Labels
	example := regexp.MustCompile(`\b(service|topic|partition|route)="[^"]*"`)
	q.Expr = example.ReplaceAllStringFunc(q.Expr, func(matcher string) string {
		name, _, _ := strings.Cut(matcher, "=")
		if value, ok := labels[name]; ok {
			return name + "=" + strconv.Quote(value)
		}
		return matcher
	})
	return q
}

// ask runs a query and keeps the largest samples.
func ask(ctx context.Context, source Source, q Query, now time.Time) Answer {
	answer := Answer{Query: q.Expr, Comment: q.Comment, Samples: []Sample{}}
	vector, err := source.Prometheus.Vector(ctx, q.Expr, now)
	if err != nil {
		answer.Error = source.Words(err)
		return answer
	}
	slices.SortStableFunc(vector, func(a, b *model.Sample) int {
		switch {
		case a.Value > b.Value:
			return -1
		case a.Value < b.Value:
			return 1
		default:
			return strings.Compare(a.Metric.String(), b.Metric.String())
		}
	})
	answer.Left = max(0, len(vector)-maxSamples)
	for _, s := range vector[:len(vector)-answer.Left] {
		sample := Sample{Labels: map[string]string{}}
		for name, value := range s.Metric {
			sample.Labels[string(name)] = string(value)
		}
		if value := float64(s.Value); !math.IsNaN(value) && !math.IsInf(value, 0) {
			sample.Value = &value
		}
		answer.Samples = append(answer.Samples, sample)
	}
	return answer
}

// aboutLag, aboutLetters and aboutWaiting say what an alert is about, by what it
// asks: lag as consumers or as brokers tell it, dead letters, or orders that wait.
func (a Alert) aboutLag() bool {
	return strings.Contains(a.Expr, "kafka_consumer_") || strings.Contains(a.Expr, "kafka_consumergroup_")
}

func (a Alert) aboutLetters() bool { return strings.Contains(a.Expr, "dead_letters_") }

func (a Alert) aboutWaiting() bool {
	return a.aboutLag() || strings.Contains(a.Expr, "orders_oldest_waiting_seconds")
}

// partitions finds which partitions the group of a firing alert is behind on, or
// of all groups where it does not fire.
func (r *Report) partitions(ctx context.Context, source Source, now time.Time) {
	if !r.aboutLag() {
		return
	}
	var matchers []string
	if len(r.Instances) > 0 {
		for _, name := range []string{"service", "topic"} {
			if value := r.Instances[0].Labels[name]; value != "" {
				matchers = append(matchers, name+"="+strconv.Quote(value))
			}
		}
	}
	query := fmt.Sprintf("topk(3, max by (service, topic, partition) (kafka_consumer_lag_seconds{%s}) > 0)", strings.Join(matchers, ","))
	vector, err := source.Prometheus.Vector(ctx, query, now)
	if err != nil {
		r.Notes = append(r.Notes, source.Words(err))
		return
	}
	for _, s := range vector {
		service := string(s.Metric["service"])
		r.Partitions = append(r.Partitions, Partition{
			Service: service, Group: source.Groups[service], Topic: string(s.Metric["topic"]),
			Partition: string(s.Metric["partition"]), Seconds: float64(s.Value),
		})
	}
	slices.SortStableFunc(r.Partitions, func(a, b Partition) int {
		switch {
		case a.Seconds > b.Seconds:
			return -1
		case a.Seconds < b.Seconds:
			return 1
		default:
			return 0
		}
	})
}

// orders finds which orders the alert is about.
func (r *Report) orders(ctx context.Context, source Source) {
	var orders []Order
	var err error
	switch {
	case r.aboutLetters() && source.Letters != nil:
		reason := ""
		if len(r.Instances) > 0 {
			reason = r.Instances[0].Labels["reason"]
		}
		orders, err = source.Letters(ctx, reason, maxOrders)
	case r.aboutWaiting() && source.Waiting != nil:
		orders, err = source.Waiting(ctx, maxOrders)
	}
	r.Orders = append(r.Orders, orders...)
	if err != nil {
		r.Notes = append(r.Notes, "which orders it is about cannot be told: "+source.Words(err))
	}
}

// sorted are labels as Prometheus writes them, in the order of their names.
func sorted(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != model.MetricNameLabel {
			parts = append(parts, name+"="+strconv.Quote(labels[name]))
		}
	}
	return labels[model.MetricNameLabel] + "{" + strings.Join(parts, ", ") + "}"
}
