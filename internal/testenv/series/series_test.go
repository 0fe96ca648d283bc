package series_test

import (
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/series"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func load(t *testing.T) series.Known {
	t.Helper()
	m, err := series.Load(repo.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each source of metrics is read.
func TestLoad(t *testing.T) {
	m := load(t)
	for name, label := range map[string]string{
		"orders_total": "service", "payments_total": "status", "http_request_duration_seconds_bucket": "le",
		"kafka_network_requestmetrics_totaltime_seconds": "quantile", "java_memory_pool_used_bytes": "area",
		"node_filesystem_avail_bytes": "mountpoint", "prometheus_build_info": "version", "alertmanager_alerts": "state",
		"up": "job",
	} {
		if !m[name][label] {
			t.Errorf("%s has labels %v, want %s among them", name, m[name], label)
		}
	}
	if labels, ok := m["jvm_memory_used_bytes"]; !ok || labels != nil {
		t.Errorf("a recorded series: %v with labels %v, want it without", ok, labels)
	}
}

func TestCheck(t *testing.T) {
	m := load(t)
	for expression, want := range map[string]string{
		`sum by (service) (rate(orders_total[5m]))`:                                   "",
		`histogram_quantile(0.99, sum by (le) (rate(order_amount_euros_bucket[5m])))`: "",
		`{__name__="orders_total",job="services"}`:                                    "",
		`jvm_memory_used_bytes{anything="x"}`:                                         "",
		`rate(ordres_total[5m])`:                                                      "ordres_total: no such metric",
		`orders_total / order_amount_euros`:                                           "order_amount_euros: no such metric",
		`payments_total{state="rejected"}`:                                            "payments_total: no label state",
		`sum(`:                                                                        "parse",
		`{job="services"}`:                                                            "no metric's name",
		`max_over_time((orders_total - payments_totals)[5m:15s])`:                     "payments_totals: no such metric",
		`orders_total{topic="x"} or on (service) absent(kafka_consumer_lag{partition=""})`: "orders_total: no label topic",
	} {
		err := m.Check(expression)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expression, err, want)
		}
	}
}
