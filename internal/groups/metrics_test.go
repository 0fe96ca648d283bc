package groups_test

import (
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// The page shows the last round under the catalogue's names, and of what is gone,
// unknown or too old nothing.
func TestThePageShowsTheLastRound(t *testing.T) {
	w := open(t, func(c *groups.Config) { c.Timeout = 300 * time.Millisecond })
	page := telemetrytest.New(t, "sentinelle", groups.Catalogue())
	if err := w.watched.Export(page.Telemetry); err != nil {
		t.Fatal(err)
	}
	if text := page.Page(); strings.Contains(text, "kafka_brokers") || page.Metric("sentinelle_rounds_total", map[string]string{"outcome": "failed"}) != 0 {
		t.Errorf("before the first round:\n%s", text)
	}
	w.produce(0, w.now, "a", "b", "c")
	w.commit("group", "orders", 0, 1)
	w.commit("group", "orders", 1, 5) // beyond the end
	w.await("a round without a failure", whole)
	page.CheckCatalogue()
	at := map[string]string{"consumergroup": "group", "topic": "orders", "partition": "0"}
	for name, want := range map[string]float64{
		"kafka_consumergroup_lag": 2, "kafka_consumergroup_current_offset": 1, "kafka_consumergroup_purged_offsets": 0,
		"kafka_topic_partition_current_offset": 3, "kafka_topic_partition_oldest_offset": 0, "kafka_topic_partition_leader": 0,
		"kafka_topic_partition_leader_is_preferred": 1, "kafka_topic_partition_replicas": 3, "kafka_topic_partition_in_sync_replica": 3,
		"kafka_topic_partition_under_replicated_partition": 0,
	} {
		labels := at
		if strings.HasPrefix(name, "kafka_topic") {
			labels = map[string]string{"topic": "orders", "partition": "0"}
		}
		if got := page.Metric(name, labels); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]float64{
		"kafka_brokers": 3, "kafka_topic_partitions": 3, "kafka_consumergroup_members": 0, "kafka_consumergroup_state": 1, "kafka_consumergroup_current_offset_sum": 6,
		"sentinelle_round_age_seconds": 0, "sentinelle_left_out": 0,
	} {
		if got := page.Metric(name, nil); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := page.Metric("sentinelle_unknown_lags", map[string]string{"reason": "beyond_end"}); got != 1 {
		t.Errorf("%v lags are unknown", got)
	}
	for _, unwanted := range []string{`kafka_consumergroup_lag{consumergroup="group",partition="1"`, "kafka_consumergroup_lag_sum{", "NaN", "} -"} {
		if strings.Contains(page.Page(), unwanted) {
			t.Errorf("%s is on the page", unwanted)
		}
	}
	if err := w.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	w.await("the cluster without its topic", func(r *groups.Round) bool { return r.Answering() == 3 && r.Topic("orders") == nil })
	if strings.Contains(page.Page(), `topic="orders"`) {
		t.Error("a topic that is gone is on the page")
	}
	failed := func() float64 { return page.Metric("sentinelle_rounds_total", map[string]string{"outcome": "failed"}) }
	before := failed()
	w.Close()
	w.look()
	if got := page.Metric("kafka_brokers", nil); got != 0 {
		t.Errorf("%v brokers answer", got)
	}
	if got := failed(); got != before+1 {
		t.Errorf("%v rounds failed, after %v", got, before)
	}
	w.now = w.now.Add(time.Hour)
	if strings.Contains(page.Page(), "kafka_brokers{") || page.Metric("sentinelle_round_age_seconds", nil) < 3600 {
		t.Error("what is an hour old is on the page")
	}
	page.CheckCatalogue()
}
