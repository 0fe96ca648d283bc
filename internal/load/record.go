package load

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what an answer is worth.
type result int

const (
	good       result = iota // what the request was to get
	failed                   // no answer in time, or one that says that the service could not: 5xx
	unexpected               // an answer that this request is not to get
)

// outcome is what came of a request. Times are from the run's start.
type outcome struct {
	kind            Kind
	due, sent, done time.Duration
	result          result
	status          int
	err             error
}

// Histograms have three digits, from a microsecond to a minute; what is longer
// counts as a minute. Requests end long before.
const longest = time.Minute

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), 3)
}

// put records a duration.
func put(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d, time.Microsecond), longest).Microseconds()) // within its bounds
}

// Quantiles are of durations, in milliseconds.
type Quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50Millis"`
	P90   float64 `json:"p90Millis"`
	P99   float64 `json:"p99Millis"`
	P999  float64 `json:"p999Millis"`
	Max   float64 `json:"maxMillis"`
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	millis := func(micros int64) float64 { return float64(micros) / 1000 }
	if h.TotalCount() == 0 {
		return Quantiles{}
	}
	v := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return Quantiles{h.TotalCount(), millis(v[0]), millis(v[1]), millis(v[2]), millis(v[3]), millis(h.Max())}
}

// counts are of requests, by what came of them.
type counts struct{ due, sent, good, failed, unexpected, unsent int64 }

func (c *counts) add(r result) {
	c.due++
	c.sent++
	switch r {
	case good:
		c.good++
	case failed:
		c.failed++
	case unexpected:
		c.unexpected++
	}
}

func (c *counts) miss() {
	c.due++
	c.unsent++
}

// tally is what came of requests of one kind.
type tally struct {
	counts

	fast     int64 // good, and within the objective
	intended *hdrhistogram.Histogram
	service  *hdrhistogram.Histogram
}

func newTally() *tally { return &tally{intended: newHistogram(), service: newHistogram()} }

// add counts an outcome. Latency is that of good answers, from when the request was
// due: what waited to be sent has waited too.
func (t *tally) add(o outcome, objective time.Duration) {
	t.counts.add(o.result)
	if o.result != good {
		return
	}
	if o.done-o.due <= objective {
		t.fast++
	}
	put(t.intended, o.done-o.due)
	put(t.service, o.done-o.sent)
}

// moment is what came of the requests that were due in one interval.
type moment struct {
	counts

	orders, late *hdrhistogram.Histogram
}

// record collects what came of requests. Its size does not grow with their number.
type record struct {
	cfg        *Config
	every      time.Duration
	stepLength time.Duration // of stairs; 0 without

	mu       sync.Mutex
	kinds    map[Kind]*tally
	steps    []*tally // orders alone
	moments  []*moment
	late     *hdrhistogram.Histogram
	answers  map[string]int64 // unexpected and failed ones, in words
	peak     int              // requests under way
	fullness int64            // how often all places were taken
}

// maxMoments bounds how many intervals are kept.
const maxMoments = 600

// maxAnswers bounds how many different failures are told apart.
const maxAnswers = 20

func newRecord(cfg *Config) *record {
	r := &record{
		cfg: cfg, every: intervalOf(cfg.Curve.Length()), stepLength: cfg.Step,
		kinds: map[Kind]*tally{}, late: newHistogram(), answers: map[string]int64{},
	}
	for kind, weight := range cfg.Mix {
		if weight > 0 {
			r.kinds[kind] = newTally()
		}
	}
	return r
}

// intervalOf is how long the intervals are of a run: a second, or longer.
func intervalOf(length time.Duration) time.Duration {
	return max(time.Second, (length / (maxMoments - 1)).Round(time.Second))
}

func (r *record) add(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally(o.kind).add(o, r.cfg.Objectives.Latency)
	m := r.moment(o.due)
	m.add(o.result)
	switch {
	case o.result != good:
		r.tell(o)
	case o.kind.Orders():
		put(m.orders, o.done-o.due)
	}
	put(m.late, o.sent-o.due)
	put(r.late, o.sent-o.due)
	if step := r.step(o.due); step != nil && o.kind.Orders() {
		step.add(o, r.cfg.Objectives.Latency)
	}
}

// unsent counts a request for which there was no place in its time.
func (r *record) unsent(kind Kind, due time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally(kind).miss()
	r.moment(due).miss()
	if step := r.step(due); step != nil && kind.Orders() {
		step.miss()
	}
}

// underWay notes how many requests are, and whether one more found no place.
func (r *record) underWay(n int, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peak = max(r.peak, n)
	if full {
		r.fullness++
	}
}

// tally is a kind's. The caller has the lock, here and below.
func (r *record) tally(kind Kind) *tally {
	if r.kinds[kind] == nil { // a keyed order in place of a repeat
		r.kinds[kind] = newTally()
	}
	return r.kinds[kind]
}

// moment is the interval that a time is in.
func (r *record) moment(at time.Duration) *moment {
	i := min(int(at/r.every), maxMoments-1)
	for len(r.moments) <= i {
		r.moments = append(r.moments, &moment{orders: hdrhistogram.New(1, longest.Microseconds(), 2), late: hdrhistogram.New(1, longest.Microseconds(), 1)})
	}
	return r.moments[i]
}

func (r *record) step(at time.Duration) *tally {
	if r.stepLength == 0 {
		return nil
	}
	i := int(at / r.stepLength)
	for len(r.steps) <= i {
		r.steps = append(r.steps, newTally())
	}
	return r.steps[i]
}

// tell counts what went wrong in words, bounded.
func (r *record) tell(o outcome) {
	text := r.cfg.wordsOf(o)
	if _, known := r.answers[text]; !known && len(r.answers) >= maxAnswers {
		text = "others"
	}
	r.answers[text]++
}

// wordsOf says what went wrong with a request, without what is its own.
func (c *Config) wordsOf(o outcome) string {
	if o.err != nil {
		return string(o.kind) + ": " + c.words(o.err)
	}
	text := string(o.kind) + ": answered with " + strconv.Itoa(o.status)
	if o.kind == Repeat && o.status == http.StatusCreated {
		text += ", and another order than before"
	}
	return text
}

// live are the figures of the latest whole interval.
func (r *record) live(curve Curve, past time.Duration) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sent, bad int64
	for _, t := range r.kinds {
		sent += t.due
		bad += t.failed + t.unexpected + t.unsent
	}
	p := Progress{Stage: "sending", Done: sent, Total: int64(math.Ceil(curve.Total()))}
	if i := int(past/r.every) - 1; i >= 0 && i < len(r.moments) {
		m := r.moments[i]
		p.Text = fmt.Sprintf("%.0f/s, p99 %.0f ms", float64(m.sent)/r.every.Seconds(), quantiles(m.orders).P99)
	}
	if bad > 0 {
		p.Text += fmt.Sprintf(", %d not well answered", bad)
	}
	return p
}

// beyondKnee returns what says whether a request is due so far beyond the knee that it
// need not be sent: once two steps, one after the other, have not held.
func (r *record) beyondKnee(f *follower) func(due time.Duration) bool {
	if r.stepLength == 0 {
		return func(time.Duration) bool { return false }
	}
	judged := 0
	return func(due time.Duration) bool {
		now := int(due / r.stepLength)
		if now == judged {
			return false
		}
		judged = now
		r.mu.Lock()
		defer r.mu.Unlock()
		// The step before last has its answers; those of the last may be under way.
		return now >= 3 && !r.held(now-2, f) && !r.held(now-3, f)
	}
}

// held says whether the objectives held in a step. The caller has the lock.
func (r *record) held(i int, f *follower) bool {
	if i >= len(r.steps) {
		return false
	}
	t := r.steps[i]
	followed, late := f.step(i)
	o := r.cfg.Objectives
	return share(t.good, t.due) >= o.Available && share(t.fast, t.good) >= o.Fast && share(followed-late, followed) >= o.InTime
}

// share is a part of a whole; of nothing it is all.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}
