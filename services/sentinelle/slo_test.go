package sentinelle

import (
	"math"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
)

// promise has Prometheus know an objective of 99.9% over two weeks: the share of bad
// events over windows, and what is left of the budget; NaN where there were no events.
func (b *bank) promise(name string, left float64, bad map[string]float64) {
	add := func(metric string, value float64) {
		b.recorded = append(b.recorded, &model.Sample{Value: model.SampleValue(value), Metric: model.Metric{
			model.MetricNameLabel: model.LabelValue(metric), "sloth_slo": model.LabelValue(name),
		}})
	}
	add("slo:objective:ratio", 0.999)
	add("slo:error_budget:ratio", 0.001)
	add("slo:time_period:days", 14)
	add("slo:period_error_budget_remaining:ratio", left)
	for window, ratio := range bad {
		add("slo:sli_error:ratio_rate"+window, ratio)
	}
}

// What is not known of an objective is neither kept nor 0.
func TestObjectives(t *testing.T) {
	b := healthyBank()
	b.promise("availability", 0.5, map[string]float64{"5m": 0, "1h": 0.0005, "2w": 0.0005})
	b.promise("coverage", -0.5, map[string]float64{"1h": 0, "2w": 0.0015})
	b.promise("freshness", 0.9, map[string]float64{"1h": 0.02, "2w": 0.0001})
	b.promise("latency", math.NaN(), map[string]float64{"5m": math.NaN(), "2w": math.NaN()})
	b.promise("probe", math.NaN(), map[string]float64{"5m": math.NaN()}) // nothing is probed
	b.promise("unseen", 0.9, map[string]float64{"1h": 0, "2w": 0.0001})
	b.recorded = append(b.recorded, &model.Sample{Value: 1, Metric: model.Metric{
		model.MetricNameLabel: "ALERTS", "alertname": "ObjectiveUnknown", "sloth_slo": "unseen",
	}})
	s := openSite(t, b, surroundings())
	s.look(t)
	var answer struct {
		Known      bool
		Objectives []Objective
	}
	s.getJSON(t, "/slo", &answer)
	if !answer.Known || len(answer.Objectives) != 5 {
		t.Fatalf("%+v", answer)
	}
	for i, want := range []struct{ name, state, kept, left, burning string }{
		{"availability", "kept", "99.95%", "50%", "0.5 ×"},
		{"coverage", "used-up", "99.85%", "-50%", "0 ×"},
		{"freshness", "burning", "99.99%", "90%", "20 ×"},
		{"latency", "unknown", nothing, nothing, nothing},
		{"unseen", "unknown", "99.99%", "90%", "0 ×"},
	} {
		o := answer.Objectives[i]
		if o.Name != want.name || o.State != want.state || o.Kept().String() != want.kept || o.Left().String() != want.left || o.Burning().String() != want.burning {
			t.Errorf("%s is %s, %s kept, %s left, burns %s; want %+v", o.Name, o.State, o.Kept(), o.Left(), o.Burning(), want)
		}
		if o.Promised().String() != "99.9% over 14 days" {
			t.Errorf("promised are %s", o.Promised())
		}
	}
	page := s.read(t, "/", 200)
	for _, want := range []string{`<span class="verdict used-up">used-up</span>`, "99.95%", "-50%"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
}

// Where probes are wanted their objective is shown, also before the first has ended.
func TestTheObjectiveOfProbes(t *testing.T) {
	b := healthyBank()
	b.promise("probe", math.NaN(), nil)
	b.recorded = append(b.recorded, &model.Sample{Value: 10, Metric: model.Metric{model.MetricNameLabel: "probe_interval_seconds"}})
	s := openSite(t, b, surroundings())
	s.look(t)
	var answer struct{ Objectives []Objective }
	if s.getJSON(t, "/slo", &answer); len(answer.Objectives) != 1 || answer.Objectives[0].Name != "probe" || answer.Objectives[0].State != "unknown" {
		t.Errorf("%+v", answer)
	}
}

// Without a Prometheus, or one without the rules, nothing is said of them but that.
func TestObjectivesAreNotKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		deaf bool
		why  string
	}{
		"Prometheus does not answer": {true, "does not answer"},
		"no rules":                   {false, "recorded nothing"},
	} {
		b := healthyBank()
		b.deaf = tt.deaf
		s := openSite(t, b, surroundings())
		s.look(t)
		var answer struct {
			Known      bool
			Why        string
			Objectives []Objective
		}
		if s.getJSON(t, "/slo", &answer); answer.Known || !strings.Contains(answer.Why, tt.why) || len(answer.Objectives) > 0 {
			t.Errorf("%s: %+v", name, answer)
		}
		if page := s.read(t, "/", 200); !strings.Contains(page, "Whether the promises are kept is not known") {
			t.Errorf("%s: the page does not say so", name)
		}
	}
}
