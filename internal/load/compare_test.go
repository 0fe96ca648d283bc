package load

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// noisy is a run whose p99 is about so many milliseconds.
func noisy(seed uint64, p99 float64, moments int) Report {
	random := rand.New(rand.NewPCG(seed, 1))
	r := Report{Name: Constant, Mix: "order=1", SendingSeconds: float64(moments)}
	p := Process{Services: []string{"commande"}}
	for range moments {
		noise := 1 + .2*random.NormFloat64()
		r.Timeline = append(r.Timeline, Moment{Good: 100, P50: 5 * noise, P90: 9, P99: p99 * noise})
		p.Samples = append(p.Samples, Sample{CPU: noise})
	}
	r.Processes = []Process{p}
	return r
}

func difference(t *testing.T, before, after Report, name string) Difference {
	t.Helper()
	for _, d := range Compare(before, after) {
		if strings.HasPrefix(d.Figure, name) {
			return d
		}
	}
	t.Fatalf("%s is not compared", name)
	return Difference{}
}

// A difference that is larger than the noise is told, one within it is not.
func TestDifferencesAreToldFromNoise(t *testing.T) {
	first := noisy(1, 20, 60)
	if d := difference(t, first, noisy(2, 30, 60), "latency p99"); !d.Told || d.P > .001 || d.Before.Median > 23 || d.After.Median < 26 || d.Before.Low >= d.Before.Median || d.Before.High <= d.Before.Median {
		t.Errorf("%+v", d)
	}
	noise := 0
	for seed := range uint64(40) {
		if difference(t, first, noisy(100+seed, 20, 60), "latency p99").Told {
			noise++
		}
	}
	if noise > 12 { // a twentieth of them is to be expected, and the first is one draw itself
		t.Errorf("%d of 40 differences are told that are none", noise)
	}
	if d := difference(t, first, first, "good"); d.Told || d.P != 1 {
		t.Errorf("%+v", d)
	}
}

func TestAComparisonForPeople(t *testing.T) {
	before, after := noisy(1, 20, 60), noisy(2, 30, 60)
	after.Mix, after.Limits = "order=2", []string{"The machine was the limit."}
	text := CompareText(before, after)
	for _, want := range []string{"latency p99, ms", " %  ", "~", "not of the same load: constant, order=1", "Of the second: The machine was the limit."} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text := CompareText(noisy(1, 20, 2), noisy(1, 20, 2)); !strings.Contains(text, "too few") || strings.Contains(text, "not of the same") {
		t.Errorf("of two moments:\n%s", text)
	}
	if text := CompareText(Report{}, Report{}); !strings.HasPrefix(text, "FIGURE") {
		t.Errorf("of nothing:\n%s", text)
	}
}
