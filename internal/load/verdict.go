package load

import (
	"fmt"
	"strings"
)

// State is what a check found.
type State string

// The states of a check. What is not known has not passed.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Unknown State = "unknown"
)

// Check is one thing that was held against the run.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail"`
}

// The names of the checks, in their order.
const (
	CheckAvailable  = "available"  // good orders were answered with 201
	CheckLatency    = "latency"    // in time, from when they were due
	CheckVisible    = "visible"    // and decided and visible in time
	CheckKnee       = "knee"       // in place of the three, where it was looked for
	CheckAnswers    = "answers"    // all other requests got what they were to get
	CheckPromised   = "promised"   // nothing that was answered with 201 is missing
	CheckAudit      = "audit"      // every order is accounted for once
	CheckMemory     = "memory"     // memory came back
	CheckGoroutines = "goroutines" // and so did goroutines
	CheckFaults     = "faults"     // what was to be broken was broken; only where something was
	CheckGenerator  = "generator"  // the load was what it was meant to be
)

const (
	// What may stay beside a part of what was there: caches, connections, what the
	// garbage collector has not looked at yet.
	heapSlack       = 64 << 20
	goroutinesSlack = 50
	// lateMillis is how late requests may be sent before it counts as a limit.
	lateMillis = 50
	// often is the share of the time in which a machine is busy all but entirely that
	// makes it a limit.
	often = .2
)

func heapAllowed(before float64, o Objectives) float64 { return before*o.Growth + heapSlack }

func goroutinesAllowed(before float64, o Objectives) float64 {
	return before*o.Growth + goroutinesSlack
}

// judge fills in the checks and the limits, and from them the verdict: it passes if
// every check does.
func (r *Report) judge(cfg *Config) {
	o := cfg.Objectives
	if r.Knee == nil {
		r.Checks = append(r.Checks, r.available(o), r.latency(o), r.visible(o))
	} else {
		r.Checks = append(r.Checks, r.kneeCheck())
	}
	r.Checks = append(r.Checks, r.answers(o), r.promised())
	if r.Audit != nil {
		r.Checks = append(r.Checks, r.audit())
	}
	r.Checks = append(r.Checks,
		r.cameBack(CheckMemory, "memory", func(s *Sample) float64 { return s.Heap }, func(b float64) float64 { return heapAllowed(b, o) }, bytesText),
		r.cameBack(CheckGoroutines, "goroutines", func(s *Sample) float64 { return s.Goroutines }, func(b float64) float64 { return goroutinesAllowed(b, o) }, func(n float64) string { return fmt.Sprintf("%.0f", n) }),
		r.generator())
	if len(cfg.Faults) > 0 {
		r.Checks = append(r.Checks, r.faults(len(cfg.Faults)))
	}
	r.Passed = true
	for _, c := range r.Checks {
		r.Passed = r.Passed && c.State == Passed
	}
	r.Limits = append(r.Limits, r.limits()...)
}

func verdictOf(name string, passed bool, format string, args ...any) Check {
	c := Check{Name: name, State: Failed, Detail: fmt.Sprintf(format, args...)}
	if passed {
		c.State = Passed
	}
	return c
}

// orders adds up the kinds that are good orders.
func (r *Report) orders() (due, good, fast int64) {
	for _, k := range r.Requests {
		if k.Kind.Orders() {
			due, good, fast = due+k.Due, good+k.Good, fast+k.Fast
		}
	}
	return due, good, fast
}

func (r *Report) available(o Objectives) Check {
	due, good, _ := r.orders()
	if due == 0 {
		return Check{CheckAvailable, Unknown, "no good order was sent"}
	}
	return verdictOf(CheckAvailable, share(good, due) >= o.Available, "%s of %d orders were answered with 201; want %s",
		percent(share(good, due)), due, percent(o.Available))
}

func (r *Report) latency(o Objectives) Check {
	_, good, fast := r.orders()
	if good == 0 {
		return Check{CheckLatency, Unknown, "no order was answered with 201"}
	}
	return verdictOf(CheckLatency, share(fast, good) >= o.Fast, "%s of %d orders took at most %v from when they were due; want %s",
		percent(share(fast, good)), good, o.Latency, percent(o.Fast))
}

func (r *Report) visible(o Objectives) Check {
	j := r.Journeys
	if j.Followed == 0 {
		return Check{CheckVisible, Unknown, "no order was followed"}
	}
	part := share(j.Followed-j.Late, j.Followed)
	return verdictOf(CheckVisible, part >= o.InTime, "%s of %d followed orders were decided and visible within %v of their 201; want %s",
		percent(part), j.Followed, o.Visible, percent(o.InTime))
}

func (r *Report) kneeCheck() Check {
	switch k := r.Knee; {
	case k.Rate == 0:
		return Check{CheckKnee, Failed, "the objectives held at no rate; begin lower"}
	case !k.Found:
		return Check{CheckKnee, Passed, fmt.Sprintf("the objectives held up to the highest rate, %.0f requests a second: the knee is higher", k.Rate)}
	default:
		return Check{CheckKnee, Passed, fmt.Sprintf("the objectives held up to %.0f requests a second, and not above", k.Rate)}
	}
}

// answers looks at what availability does not: reads that failed, and requests that
// got what they were not to get, such as a wrong order that was taken.
func (r *Report) answers(o Objectives) Check {
	var due, wrong, failed, reads int64
	for _, k := range r.Requests {
		due += k.Due
		wrong += k.Unexpected
		if !k.Kind.Orders() {
			reads += k.Due
			failed += k.Failed + k.Unsent
		}
	}
	switch {
	case wrong > 0:
		return Check{CheckAnswers, Failed, fmt.Sprintf("%d of %d requests got an answer that they were not to get", wrong, due)}
	case r.Knee == nil && share(reads-failed, reads) < o.Available:
		return Check{CheckAnswers, Failed, fmt.Sprintf("%d of %d other requests than orders were not answered", failed, reads)}
	default:
		return Check{CheckAnswers, Passed, "every answer was one that its request was to get"}
	}
}

func (r *Report) promised() Check {
	p := r.Promised
	c := Check{Name: CheckPromised, State: Passed, Detail: fmt.Sprintf("all %d orders that were answered with 201 are decided or set aside", p.Asked)}
	switch {
	case p.Missing+p.Undecided > 0:
		c.State = Failed
		c.Detail = fmt.Sprintf("of %d orders that were answered with 201, %d are missing in suivi and %d are not decided", p.Asked, p.Missing, p.Undecided)
	case p.Unknown > 0:
		c.State, c.Detail = Unknown, fmt.Sprintf("of %d orders that were answered with 201, suivi did not say what became of %d", p.Asked, p.Unknown)
	case p.Asked == 0:
		c.State, c.Detail = Unknown, "no order was answered with 201"
	}
	if len(p.Examples) > 0 {
		c.Detail += ": " + strings.Join(p.Examples, ", ")
	}
	return c
}

func (r *Report) audit() Check {
	return verdictOf(CheckAudit, r.Audit.Clean, "%s", r.Audit.Detail)
}

// cameBack compares what each process has now with what it had before.
func (r *Report) cameBack(name, what string, of func(*Sample) float64, allowed func(float64) float64, text func(float64) string) Check {
	if len(r.Processes) == 0 {
		return Check{name, Unknown, "no service's page could be read before the run"}
	}
	c := Check{Name: name, State: Passed}
	var details []string
	for _, p := range r.Processes {
		switch {
		case p.Restarted:
			details, c.State = append(details, p.Name()+" was restarted"), worse(c.State, Unknown)
		case p.After == nil:
			details, c.State = append(details, p.Name()+" does not answer any more"), worse(c.State, Unknown)
		default:
			before, after := of(p.Before), of(p.After)
			details = append(details, fmt.Sprintf("%s: %s before, %s now, %s allowed", p.Name(), text(before), text(after), text(allowed(before))))
			if after > allowed(before) {
				c.State = Failed
			}
		}
	}
	c.Detail = what + " of " + strings.Join(details, "; ")
	return c
}

func worse(a, b State) State {
	if a == Passed {
		return b
	}
	return a
}

// generator says whether the load was what it was meant to be.
func (r *Report) generator() Check {
	due, sent := int64(0), int64(0)
	for _, k := range r.Requests {
		due, sent = due+k.Due, sent+k.Sent
	}
	if due == 0 {
		return Check{CheckGenerator, Unknown, "nothing was due before it was interrupted"}
	}
	return verdictOf(CheckGenerator, r.Knee != nil || share(sent, due) >= .999, "%d of %d requests that were due were sent; 99 %% of them at most %.1f ms late",
		sent, due, r.Generator.Late.P99)
}

// faults says whether all that was to be broken was: a bank that was not tried has
// proved nothing.
func (r *Report) faults(wanted int) Check {
	for _, f := range r.Faults {
		if f.Problem != "" {
			return Check{CheckFaults, Failed, fmt.Sprintf("%s could not be broken: %s", f.Name, f.Problem)}
		}
	}
	return verdictOf(CheckFaults, len(r.Faults) == wanted, "%d of %d things that were to be broken were", len(r.Faults), wanted)
}

// limits says what kept the load or the bank from more.
func (r *Report) limits() (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	g := r.Generator
	if g.Full > 0 {
		say("All %d places for requests were taken, %d times: requests waited in this generator for answers of the bank. Latencies contain that wait.", g.InFlight, g.Full)
	}
	if g.Late.P99 > lateMillis && g.Full == 0 {
		say("The generator fell behind: 1 %% of requests were sent more than %.0f ms after they were due. Latencies contain that; the bank may be faster.", g.Late.P99)
	}
	if g.MeanCPU != nil && *g.MeanCPU >= saturated*float64(g.Cores) {
		say("The generator was the limit: it used %.2f of its %d cores.", *g.MeanCPU, g.Cores)
	}
	if m := r.Machine; m.Saturated != nil && *m.Saturated >= often {
		say("The machine was the limit: its %d cores were busy in %s of the time. Of them %s.", m.Cores, percent(*m.Saturated), r.users())
	}
	for _, p := range r.Processes {
		if p.MeanCPU >= saturated*float64(r.Machine.Cores) {
			say("%s used all %d cores.", p.Name(), r.Machine.Cores)
		}
	}
	return all
}

// users says who used how much of the machine.
func (r *Report) users() string {
	var parts []string
	for _, p := range r.Processes {
		parts = append(parts, fmt.Sprintf("%.2f by %s", p.MeanCPU, p.Name()))
	}
	if r.Generator.MeanCPU != nil {
		parts = append(parts, fmt.Sprintf("%.2f by this generator", *r.Generator.MeanCPU))
	}
	return strings.Join(parts, ", ") + "; the rest by others"
}
