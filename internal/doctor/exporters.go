package doctor

import (
	"context"
	"fmt"
	"net/http"
)

// exporter is a page that is not a service's.
type exporter struct {
	name, url string
	// metrics that the page must have, each with what its absence means.
	metrics []expected
	start   string // how to start it
}

type expected struct{ prefix, absence, remedy string }

func kafkaExporter(url string) exporter {
	return exporter{
		name: "JMX exporter", url: url, start: "Start it with `make monitoring-up`; `docker compose logs kafka-jmx-exporter` says why it ended.",
		metrics: []expected{
			{"jmx_scrape_error 0", "answers, and Kafka does not answer it", "It does not reach the broker's JMX port: see that Kafka runs with JMX on 1099, then restart the exporter."},
			{"kafka_server_", "reaches Kafka and shows none of its figures", "Its rules match nothing: compare monitoring/jmx/kafka.yml with the broker's version."},
		},
	}
}

func nodeExporter(url string) exporter {
	return exporter{
		name: "node exporter", url: url, start: "Start it with `make monitoring-up`; `docker compose logs node-exporter` says why it ended.",
		metrics: []expected{{"node_cpu_seconds_total", "has no node_cpu_seconds_total", "Something else answers at this address."}},
	}
}

func (d *doctor) exporter(ctx context.Context, e exporter) {
	if e.url == "" {
		return
	}
	status, page, err := d.get(ctx, e.url)
	switch {
	case err != nil:
		d.wrong(e.name, fmt.Sprintf("does not answer at %s: %s", e.url, reason(err)), e.start)
		return
	case status != http.StatusOK:
		d.wrong(e.name, fmt.Sprintf("answers %s with status %d", e.url, status), e.start)
		return
	}
	for _, m := range e.metrics {
		if !hasMetric(page, m.prefix) {
			d.wrong(e.name, m.absence, m.remedy)
			return
		}
	}
	d.ok(e.name, "shows its metrics at "+e.url)
}
