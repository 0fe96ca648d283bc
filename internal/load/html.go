package load

import (
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/vigie-dev/vigie/internal/chart"
)

//go:embed report.html
var page string

// HTML writes the report as a page that needs nothing else: no script, and no file
// from elsewhere.
func (r Report) HTML(w io.Writer) error {
	view, err := template.New("report").Funcs(template.FuncMap{
		"percent": percent, "millis": millis, "share": share,
		"cores": func(v float64) string { return fmt.Sprintf("%.2f", v) },
		"mib":   bytesText,
	}).Parse(page)
	if err == nil {
		_, err = view.Parse(chart.Template)
	}
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	return view.Execute(w, struct {
		Report
		Graphs []chart.Graph
	}{r, r.graphs()})
}

// graphs are what the page shows over time.
func (r Report) graphs() []chart.Graph {
	draw := func(title, unit string, all ...chart.Series) chart.Graph {
		for _, s := range all {
			if len(s.Points) > 0 {
				return chart.Draw(r.axis(title, unit, all), all...)
			}
		}
		return chart.Graph{Title: title, Unit: unit, Error: "there is no data of it"}
	}
	of := func(name string, value func(Moment) float64) chart.Series {
		s := chart.Series{Name: name}
		for _, m := range r.Timeline {
			s.Points = append(s.Points, chart.Point{At: r.at(m.At), Value: value(m)})
		}
		return s
	}
	var lag, cpu, heap []chart.Series
	for _, l := range r.Lag {
		s := chart.Series{Name: l.Service}
		for _, v := range l.Samples {
			s.Points = append(s.Points, chart.Point{At: r.at(v.At), Value: v.Records})
		}
		lag = append(lag, s)
	}
	for _, p := range r.Processes {
		cpu = append(cpu, p.series(r, func(s Sample) float64 { return s.CPU }))
		heap = append(heap, p.series(r, func(s Sample) float64 { return s.Heap / (1 << 20) }))
	}
	return []chart.Graph{
		draw("Requests", "per second", of("planned", func(m Moment) float64 { return m.Planned }), of("sent", func(m Moment) float64 { return m.Sent }),
			of("good", func(m Moment) float64 { return m.Good })),
		draw("Latency of orders, from when they were due", "milliseconds", of("half take less", func(m Moment) float64 { return m.P50 }),
			of("90 % take less", func(m Moment) float64 { return m.P90 }), of("99 % take less", func(m Moment) float64 { return m.P99 })),
		draw("Not well answered", "requests", of("failed", func(m Moment) float64 { return float64(m.Failed) }),
			of("unexpected", func(m Moment) float64 { return float64(m.Unexpected) }), of("not sent", func(m Moment) float64 { return float64(m.Unsent) })),
		draw("Lag", "records", lag...),
		draw("CPU of each process", "cores", cpu...),
		draw("Memory in use", "MiB", heap...),
		draw("Requests sent late, 99 % less", "milliseconds", of("this generator", func(m Moment) float64 { return m.Late })),
	}
}

func (p Process) series(r Report, value func(Sample) float64) chart.Series {
	s := chart.Series{Name: p.Name()}
	for _, sample := range p.Samples {
		s.Points = append(s.Points, chart.Point{At: r.at(sample.At), Value: value(sample)})
	}
	return s
}

// at is a time of the run.
func (r Report) at(seconds float64) time.Time {
	return r.Started.Add(time.Duration(seconds * float64(time.Second)))
}

// axis is a graph's, whose times are from the run's start.
func (r Report) axis(title, unit string, all []chart.Series) chart.Config {
	end := r.at(max(r.SendingSeconds, r.Interval))
	for _, s := range all {
		for _, p := range s.Points {
			if p.At.After(end) {
				end = p.At
			}
		}
	}
	return chart.Config{
		Title: title, Unit: unit, Start: r.Started, End: end, Over: end.Sub(r.Started).Round(time.Second).String(),
		Step: 2 * time.Duration(r.Interval*float64(time.Second)),
		Time: func(t time.Time) string { return t.Sub(r.Started).Round(time.Second / 10).String() },
	}
}
