package sentinelle

import (
	"context"
	"math"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// prometheus is what is asked of one.
type prometheus interface {
	Vector(ctx context.Context, query string, at time.Time) (model.Vector, error)
	Matrix(ctx context.Context, query string, start, end time.Time, step time.Duration) (model.Matrix, error)
	Rules(ctx context.Context) ([]v1.RuleGroup, error)
}

// figure names one of the figures that the page shows.
type figure string

// The figures. What is per service and topic has those labels.
const (
	figUp         figure = "up"          // per service: 1 where its page was read
	figAge        figure = "age"         // per service: seconds since that
	figProduced   figure = "produced"    // per service and topic: records a second
	figConsumed   figure = "consumed"    // per service and topic: records a second
	figLag        figure = "lag"         // per service and topic: records
	figLagSeconds figure = "lag_seconds" // per service and topic
	figLetters    figure = "letters"     // per service and topic: dead letters in ten minutes
	figOrders     figure = "orders"      // a second
	figDecided    figure = "decided"     // a second, per status
	figLatency    figure = "latency"     // 95% of POST /orders take less, seconds
	figWaiting    figure = "waiting"     // how long the oldest order has waited that is not decided and visible, seconds
	figUnseen     figure = "unseen"      // for how long nobody has seen what becomes of orders, seconds
)

// figuresQuery is one question for all of them: each series is labelled with the
// figure that it belongs to.
func figuresQuery() string {
	all := []struct {
		name figure
		expr string
	}{
		{figUp, `max by (service) (up{job="services"})`},
		{figAge, `max by (service) (time() - timestamp(up{job="services"}))`},
		{figProduced, `sum by (service, topic) (rate(kafka_messages_produced_total[1m]))`},
		{figConsumed, `sum by (service, topic) (rate(kafka_messages_consumed_total[1m]))`},
		{figLag, `sum by (service, topic) (kafka_consumer_lag)`},
		{figLagSeconds, `max by (service, topic) (kafka_consumer_lag_seconds)`},
		{figLetters, `sum by (service, topic) (increase(kafka_dead_letters_total[10m]))`},
		{figOrders, `sum(rate(orders_total[1m]))`},
		{figDecided, `sum by (status) (rate(payments_total[1m]))`},
		{figLatency, `histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{service="commande",route="/orders",status_code="201"}[5m])))`},
		{figWaiting, `max(orders_oldest_waiting_seconds)`},
		{figUnseen, `max(order_journeys_unseen_seconds)`},
	}
	parts := make([]string, len(all))
	for i, f := range all {
		parts[i] = `label_replace(` + f.expr + `, "figure", "` + string(f.name) + `", "", "")`
	}
	return strings.Join(parts, " or ")
}

// place is which of a figure's series: labels that it lacks are "".
type place struct{ service, topic, status string }

// figures are what Prometheus said at one moment. A figure that it did not say is
// not known, and never 0.
type figures map[figure]map[place]float64

func askFigures(ctx context.Context, from prometheus, now time.Time) (figures, error) {
	vector, err := from.Vector(ctx, figuresQuery(), now)
	if err != nil {
		return nil, err
	}
	all := figures{}
	for _, sample := range vector {
		name, value := figure(sample.Metric["figure"]), float64(sample.Value)
		if math.IsNaN(value) || math.IsInf(value, 0) {
			continue
		}
		if all[name] == nil {
			all[name] = map[place]float64{}
		}
		all[name][place{string(sample.Metric["service"]), string(sample.Metric["topic"]), string(sample.Metric["status"])}] = value
	}
	return all, nil
}

// of returns one figure, and whether it is known.
func (f figures) of(name figure, at place) (float64, bool) {
	value, known := f[name][at]
	return value, known
}

// number is a figure as the page writes it.
type number struct {
	Value float64 `json:"value"`
	Known bool    `json:"known"`
}

func (f figures) number(name figure, at place) number {
	value, known := f.of(name, at)
	return number{value, known}
}
