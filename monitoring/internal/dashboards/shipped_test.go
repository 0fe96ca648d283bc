package dashboards_test

import (
	"maps"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/dashboards"
	"github.com/vigie-dev/vigie/monitoring/internal/known"
)

const (
	monitoring = "../.."
	repository = "../../.."
)

func shipped(t *testing.T) []dashboards.Dashboard {
	t.Helper()
	all, err := dashboards.Load(monitoring + "/grafana/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func metrics(t *testing.T) known.Metrics {
	t.Helper()
	m, err := known.Load(monitoring)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The titles are documented; the uids are in people's bookmarks.
func TestShippedDashboardsAreTheDocumentedOnes(t *testing.T) {
	got := map[string]string{}
	for _, d := range shipped(t) {
		got[d.UID] = d.Title
	}
	want := map[string]string{
		"vigie-overview": "Kafka Banking System Overview",
		"vigie-services": "Microservices Health Dashboard",
		"vigie-broker":   "Kafka Broker & JVM",
		"vigie-host":     "Host",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestShippedDashboardsAreSound(t *testing.T) {
	if err := dashboards.Check(shipped(t), metrics(t), repository); err != nil {
		t.Error(err)
	}
}
