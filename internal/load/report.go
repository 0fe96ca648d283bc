package load

import (
	"maps"
	"runtime"
	"slices"
	"time"
)

// Report is what came out of a run. Its JSON form is a contract: names are added,
// never changed.
type Report struct {
	Name           string        `json:"name"` // of the scenario, or the shape
	Started        time.Time     `json:"started"`
	Seconds        float64       `json:"seconds"`        // all of it, with what was waited for in the end
	SendingSeconds float64       `json:"sendingSeconds"` // of these
	Interrupted    bool          `json:"interrupted"`    // before its schedule ended
	Seed           uint64        `json:"seed"`
	Mix            string        `json:"mix"`
	Requests       []KindReport  `json:"requests"`
	Answers        []AnswerCount `json:"answers"` // those that were not good, in words

	Passed bool    `json:"passed"`
	Checks []Check `json:"checks"`
	// Limits say what kept the load, or the bank, from more, in words.
	Limits []string `json:"limits"`

	Faults    []Broken  `json:"faults"`
	Journeys  Journeys  `json:"journeys"`
	Promised  Promised  `json:"promised"`
	Audit     *Audited  `json:"audit"` // nil where it was not asked for
	Processes []Process `json:"processes"`
	Lag       []Lag     `json:"lag"`
	Generator Generator `json:"generator"`
	Machine   Machine   `json:"machine"`
	Knee      *Knee     `json:"knee"` // nil where it was not looked for

	// Interval is how long each moment is.
	Interval float64  `json:"intervalSeconds"`
	Timeline []Moment `json:"timeline"`
}

// Broken is something that was broken on purpose, from when on, and for how long, in
// seconds. Problem says why it could not be.
type Broken struct {
	Name    string  `json:"name"`
	At      float64 `json:"atSeconds"`
	For     float64 `json:"forSeconds"`
	Problem string  `json:"problem"`
}

// KindReport is what came of the requests of one kind. Good ones got what they were
// to get: of a wrong request that is a refusal. Latency is theirs from when they were
// due; Service from when they were sent, which a closed model would show.
type KindReport struct {
	Kind       Kind      `json:"kind"`
	Due        int64     `json:"due"`
	Sent       int64     `json:"sent"`
	Unsent     int64     `json:"unsent"` // no place was free in time
	Good       int64     `json:"good"`
	Failed     int64     `json:"failed"`
	Unexpected int64     `json:"unexpected"`
	Fast       int64     `json:"fast"` // good ones within the objective
	Latency    Quantiles `json:"latency"`
	Service    Quantiles `json:"service"`
}

// AnswerCount is how often something went wrong in the same way.
type AnswerCount struct {
	Answer string `json:"answer"`
	Count  int64  `json:"count"`
}

// Journeys are those of the followed orders, from their 201.
type Journeys struct {
	Followed int64     `json:"followed"`
	Late     int64     `json:"late"` // not visible within the objective
	Decided  Quantiles `json:"decided"`
	Visible  Quantiles `json:"visible"`
}

// Generator is how this process kept up.
type Generator struct {
	Cores    int       `json:"cores"` // that it may use
	MeanCPU  *float64  `json:"meanCpuCores"`
	PeakCPU  *float64  `json:"peakCpuCores"`
	Late     Quantiles `json:"late"` // how long after they were due requests were sent
	InFlight int       `json:"inFlight"`
	Peak     int       `json:"peakInFlight"`
	Full     int64     `json:"full"` // how often a request found no place free at once
}

// Machine is how busy this machine was, whoever kept it so; nil where the system does
// not say.
type Machine struct {
	Cores     int      `json:"cores"`
	Mean      *float64 `json:"meanBusy"`
	Peak      *float64 `json:"peakBusy"`
	Saturated *float64 `json:"saturatedShare"` // of the time, in which it was busy all but entirely
}

// Moment is what came of the requests that were due in one interval. Latency is of
// orders.
type Moment struct {
	At         float64 `json:"atSeconds"`
	Planned    float64 `json:"plannedPerSecond"`
	Sent       float64 `json:"sentPerSecond"`
	Good       float64 `json:"goodPerSecond"`
	Failed     int64   `json:"failed"`
	Unexpected int64   `json:"unexpected"`
	Unsent     int64   `json:"unsent"`
	P50        float64 `json:"p50Millis"`
	P90        float64 `json:"p90Millis"`
	P99        float64 `json:"p99Millis"`
	Max        float64 `json:"maxMillis"`
	Late       float64 `json:"lateP99Millis"`
}

// Knee is the highest rate of a climb at which the objectives held, in requests a
// second, before two steps in a row at which they did not, or a last one; 0 where
// there is none. Found says that there were such steps.
type Knee struct {
	Rate  float64 `json:"rate"`
	Found bool    `json:"found"`
	Steps []Step  `json:"steps"`
}

// Step is one rate of a climb. Counts and latency are of orders.
type Step struct {
	Rate     float64   `json:"rate"`
	Due      int64     `json:"due"`
	Good     int64     `json:"good"`
	Fast     int64     `json:"fast"`
	Followed int64     `json:"followed"`
	Late     int64     `json:"late"`
	Held     bool      `json:"held"`
	Latency  Quantiles `json:"latency"`
}

// report is all but what is asked for in the end.
func (r *run) report() Report {
	seen := r.seen
	seen.mu.Lock()
	defer seen.mu.Unlock()
	out := Report{
		Name: r.cfg.Name, Started: r.started.UTC(), SendingSeconds: r.sent.Seconds(), Interrupted: !r.whole, Seed: r.cfg.Seed, Mix: r.cfg.Mix.String(),
		Lag: r.watch.lagOf(), Interval: seen.every.Seconds(), Limits: []string{}, Faults: append([]Broken{}, r.broken...), Answers: []AnswerCount{}, Timeline: seen.timeline(r.cfg.Curve, r.sent),
	}
	for _, kind := range Kinds() {
		if t := seen.kinds[kind]; t != nil {
			out.Requests = append(out.Requests, KindReport{
				Kind: kind, Due: t.due, Sent: t.sent, Unsent: t.unsent, Good: t.good, Failed: t.failed, Unexpected: t.unexpected, Fast: t.fast,
				Latency: quantiles(t.intended), Service: quantiles(t.service),
			})
		}
	}
	for _, text := range slices.Sorted(maps.Keys(seen.answers)) {
		out.Answers = append(out.Answers, AnswerCount{text, seen.answers[text]})
	}
	r.follow.mu.Lock()
	out.Journeys = Journeys{r.follow.followed, r.follow.late, quantiles(r.follow.decided), quantiles(r.follow.visible)}
	r.follow.mu.Unlock()
	out.Generator = Generator{Cores: runtime.GOMAXPROCS(0), Late: quantiles(seen.late), InFlight: r.cfg.InFlight, Peak: seen.peak, Full: seen.fullness}
	out.Generator.MeanCPU, out.Generator.PeakCPU = known(r.watch.generator)
	out.Machine = r.watch.machineReport()
	out.Knee = seen.knee(r.follow)
	return out
}

// known is what values amount to, nil where there are none.
func known(values []float64) (mean, peak *float64) {
	if len(values) == 0 {
		return nil, nil
	}
	m, p := meanAndPeak(values)
	return &m, &p
}

// saturated is the share of its cores from which on a machine, or a process, has
// nothing left.
const saturated = .95

func (w *watcher) machineReport() Machine {
	m := Machine{Cores: runtime.NumCPU()}
	m.Mean, m.Peak = known(w.machine)
	if m.Mean != nil {
		n := 0
		for _, busy := range w.machine {
			if busy >= saturated {
				n++
			}
		}
		part := float64(n) / float64(len(w.machine))
		m.Saturated = &part
	}
	return m
}

func (w *watcher) lagOf() (all []Lag) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, page := range w.cfg.Pages {
		samples := w.lags[page.Service]
		if samples == nil || slices.ContainsFunc(all, func(l Lag) bool { return l.Service == page.Service }) {
			continue
		}
		l := Lag{Service: page.Service, Samples: samples}
		for _, s := range samples {
			l.Peak = max(l.Peak, s.Records)
		}
		all = append(all, l)
	}
	return all
}

// timeline is the moments until the sending ended. The caller has the lock.
func (r *record) timeline(curve Curve, sent time.Duration) []Moment {
	all := []Moment{}
	for i, m := range r.moments {
		from := time.Duration(i) * r.every
		until := min(from+r.every, max(sent, from+time.Millisecond))
		seconds := (until - from).Seconds()
		orders := quantiles(m.orders)
		all = append(all, Moment{
			At: from.Seconds(), Planned: curve.between(from, until) / seconds, Sent: float64(m.sent) / seconds, Good: float64(m.good) / seconds,
			Failed: m.failed, Unexpected: m.unexpected, Unsent: m.unsent,
			P50: orders.P50, P90: orders.P90, P99: orders.P99, Max: orders.Max, Late: quantiles(m.late).P99,
		})
	}
	return all
}

// knee is what the stairs showed, nil where there were none. The caller has the lock.
func (r *record) knee(f *follower) *Knee {
	if r.stepLength == 0 {
		return nil
	}
	k, missed := &Knee{Steps: []Step{}}, 0
	for i, t := range r.steps {
		followed, late := f.step(i)
		from := time.Duration(i) * r.stepLength
		s := Step{
			Rate: r.cfg.Curve.between(from, from+r.stepLength) / r.stepLength.Seconds(), Due: t.due, Good: t.good, Fast: t.fast,
			Followed: followed, Late: late, Held: r.held(i, f), Latency: quantiles(t.intended),
		}
		k.Steps = append(k.Steps, s)
		switch {
		case k.Found: // what is above the knee and holds is luck
		case s.Held:
			k.Rate, missed = s.Rate, 0
		default: // one step alone may have met something else of the machine
			missed++
			k.Found = missed == 2 || i == len(r.steps)-1
		}
	}
	return k
}
