package load

import (
	"fmt"
	"math"
	"strconv"

	"github.com/aclements/go-moremath/stats"

	"github.com/vigie-dev/vigie/internal/table"
)

// Difference is how a figure of one run differs from that of another. Each is the
// median over the intervals of its run, with the interval in which it lies with 95 %
// confidence: that is its noise.
type Difference struct {
	Figure        string
	Before, After Estimate
	// P is how likely a difference like this is where there is none (Mann-Whitney).
	P float64
	// Told says that the difference is more than noise.
	Told bool
}

// Estimate is a median and what it lies between.
type Estimate struct{ Median, Low, High float64 }

// figure is what is compared.
type figure struct {
	name string
	of   func(Report) []float64
}

func figuresCompared() []figure {
	moments := func(value func(Moment) float64) func(Report) []float64 {
		return func(r Report) (all []float64) {
			for _, m := range whole(r.Timeline) {
				if m.Good > 0 {
					all = append(all, value(m))
				}
			}
			return all
		}
	}
	return []figure{
		{"good answers a second", moments(func(m Moment) float64 { return m.Good })},
		{"latency p50, ms", moments(func(m Moment) float64 { return m.P50 })},
		{"latency p90, ms", moments(func(m Moment) float64 { return m.P90 })},
		{"latency p99, ms", moments(func(m Moment) float64 { return m.P99 })},
		{"sent late p99, ms", moments(func(m Moment) float64 { return m.Late })},
		{"CPU of the bank, cores", func(r Report) (all []float64) {
			for i := range shortest(r.Processes) {
				sum := 0.0
				for _, p := range r.Processes {
					sum += p.Samples[i].CPU
				}
				all = append(all, sum)
			}
			return all
		}},
		{"lag, records", func(r Report) (all []float64) {
			for _, l := range r.Lag {
				for i, s := range l.Samples {
					if i == len(all) {
						all = append(all, 0)
					}
					all[i] += s.Records
				}
			}
			return all
		}},
	}
}

// whole leaves out the last interval, which may have been cut, where others are there.
func whole(all []Moment) []Moment {
	if len(all) > 1 {
		return all[:len(all)-1]
	}
	return all
}

// shortest is as long as the fewest samples of a process.
func shortest(all []Process) []Sample {
	var few []Sample
	for i, p := range all {
		if i == 0 || len(p.Samples) < len(few) {
			few = p.Samples
		}
	}
	return few
}

// alpha is below which likelihood a difference counts.
const alpha = .05

// Compare says how the second run differs from the first. The statistics that tell
// differences from noise are those of benchstat: they assume no distribution.
func Compare(before, after Report) (all []Difference) {
	for _, f := range figuresCompared() {
		a, b := f.of(before), f.of(after)
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		d := Difference{Figure: f.name, Before: estimate(a), After: estimate(b), P: 1}
		if test, err := stats.MannWhitneyUTest(a, b, stats.LocationDiffers); err == nil { // else all values are one
			d.P = test.P
		}
		d.Told = d.P < alpha
		all = append(all, d)
	}
	return all
}

func estimate(values []float64) Estimate {
	median, low, high := stats.QuantileCI(len(values), .5, .95).SampleCI(stats.Sample{Xs: values})
	return Estimate{median, low, high}
}

// CompareText writes differences for people, and what to know about the two runs.
func CompareText(before, after Report) string {
	all := table.Table{Header: []string{"FIGURE", "BEFORE", "BETWEEN", "AFTER", "BETWEEN", "DIFFERENCE", "P"}}
	for _, d := range Compare(before, after) {
		what := "~"
		if d.Told {
			what = fmt.Sprintf("%+.1f %%", (d.After.Median/d.Before.Median-1)*100)
			if d.Before.Median == 0 {
				what = "from nothing"
			}
		}
		all.Add(d.Figure, short(d.Before.Median), d.Before.between(), short(d.After.Median), d.After.between(), what, strconv.FormatFloat(d.P, 'f', 3, 64))
	}
	text := all.Plain() + "\nEach figure is the median over the run's intervals, between what it lies in with 95 % confidence. ~ is no more than noise.\n"
	if plannedOf(before) != plannedOf(after) || before.Name != after.Name || before.Mix != after.Mix || before.Seed != after.Seed || math.Abs(before.SendingSeconds-after.SendingSeconds) > 1 {
		text += fmt.Sprintf("The runs are not of the same load: %s; then %s.\n", loadText(before), loadText(after))
	}
	for i, r := range []Report{before, after} {
		for _, limit := range r.Limits {
			text += fmt.Sprintf("Of the %s: %s\n", [...]string{"first", "second"}[i], limit)
		}
	}
	return text
}

// plannedOf is how many requests were due.
func plannedOf(r Report) (due int64) {
	for _, k := range r.Requests {
		due += k.Due
	}
	return due
}

func loadText(r Report) string {
	return fmt.Sprintf("%s, %s, seed %d, %d requests in %.0f s", r.Name, r.Mix, r.Seed, plannedOf(r), r.SendingSeconds)
}

func (e Estimate) between() string {
	if math.IsInf(e.Low, 0) || math.IsInf(e.High, 0) {
		return "too few" // intervals to say
	}
	return short(e.Low) + " … " + short(e.High)
}

// short writes a figure with three digits or so.
func short(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
