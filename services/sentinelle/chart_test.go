package sentinelle

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

func samples(start time.Time, step time.Duration, values ...float64) []model.SamplePair {
	var all []model.SamplePair
	for i, v := range values {
		if v >= 0 { // a negative one is a gap
			all = append(all, model.SamplePair{Timestamp: model.TimeFromUnix(start.Add(time.Duration(i) * step).Unix()), Value: model.SampleValue(v)})
		}
	}
	return all
}

func TestSpans(t *testing.T) {
	for _, s := range spans() {
		if n := s.Time / s.step(); n < 100 || n > 200 {
			t.Errorf("%s has %d points", s.Name, n)
		}
		if spanOf(s.Name).Name != s.Name {
			t.Errorf("%s is not found", s.Name)
		}
	}
	if spanOf("nonsense").Name != spans()[0].Name {
		t.Error("nonsense is a span")
	}
}

// Graphs are asked for once for all who look, and soon again after a failure.
func TestGraphsAreKept(t *testing.T) {
	b := healthyBank()
	s := openSite(t, b, surroundings())
	b.matrix = model.Matrix{{Values: samples(noon().Add(-time.Minute), 5*time.Second, 1, 2)}}
	for range 10 {
		s.page.graphs.of(t.Context(), spanOf("7d"))
	}
	once := b.count("matrix")
	if lines := 6; once != lines {
		t.Errorf("%d questions, want %d", once, lines)
	}
	s.now = s.now.Add(longestKept + time.Second)
	b.change(func() { b.deaf = true })
	if all := s.page.graphs.of(t.Context(), spanOf("7d")); all[0].Error == "" {
		t.Error("no data is drawn as data")
	}
	before := b.count("matrix")
	s.now = s.now.Add(minStep)
	if s.page.graphs.of(t.Context(), spanOf("7d")); b.count("matrix") == before {
		t.Error("a failure is kept for long")
	}
	if all := (&graphs{now: time.Now}).of(t.Context(), spanOf("1h")); all[0].Error != errNoPrometheus.Error() {
		t.Errorf("without a Prometheus: %q", all[0].Error)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		300 * time.Microsecond: "300 µs", 4200 * time.Microsecond: "4.2 ms", 38 * time.Millisecond: "38 ms", 1500 * time.Millisecond: "1.5 s",
		61 * time.Second: "61 s", 10 * time.Minute: "10 min", 49 * time.Hour: "49 h",
	} {
		if got := shortDuration(d).String(); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for address, want := range map[string]string{
		"http://commande:3001": "http://localhost:3001", "http://127.0.0.1:3001": "http://127.0.0.1:3001", "https://bank.example:1": "https://bank.example:1",
		"http://[::1]:3001": "http://[::1]:3001", "http://localhost:1": "http://localhost:1",
	} {
		if got := linkTo(address); got != want {
			t.Errorf("%s leads to %s, want %s", address, got, want)
		}
	}
}
