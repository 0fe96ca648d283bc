package load

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Curve is how many requests a second are meant to begin when: straight lines
// between points, in the order of time. Two points at one time are a step.
//
// One form for all shapes has a reason: its area is the number of requests, and
// turning that around says when each of them is due, also when the sender is late.
// That moment is what latency is measured from.
type Curve []Point

// Point is a rate, in requests a second, at a time from the start.
type Point struct {
	At   time.Duration `yaml:"at"`
	Rate float64       `yaml:"rate"`
}

// ErrCurve: points are none that requests can follow.
var ErrCurve = errors.New("bad rate")

// maxRate and maxLength bound what is asked for. No sender comes near the first.
const (
	maxRate   = 1e6
	maxLength = 7 * 24 * time.Hour
)

// Check returns an [ErrCurve] for points that no requests can follow.
func (c Curve) Check() error {
	if len(c) < 2 || c.Length() <= 0 {
		return fmt.Errorf("%w: it takes two points at least, at different times", ErrCurve)
	}
	for i, p := range c {
		switch {
		case !(p.Rate >= 0 && p.Rate <= maxRate): // a NaN is neither
			return fmt.Errorf("%w: %v a second; want 0 to %.0f", ErrCurve, p.Rate, maxRate)
		case i == 0 && p.At != 0:
			return fmt.Errorf("%w: the first point is at %v, not at 0s", ErrCurve, p.At)
		case i > 0 && p.At < c[i-1].At:
			return fmt.Errorf("%w: the point at %v stands behind that at %v", ErrCurve, p.At, c[i-1].At)
		}
	}
	switch {
	case c.Length() > maxLength:
		return fmt.Errorf("%w: it lasts longer than %v", ErrCurve, maxLength)
	case c.Total() < 1:
		return fmt.Errorf("%w: it is less than one request in all", ErrCurve)
	}
	return nil
}

// Length is how long requests begin.
func (c Curve) Length() time.Duration { return c[len(c)-1].At }

// Total is how many requests there are, which need not be a whole number.
func (c Curve) Total() float64 {
	total := 0.0
	for i := 1; i < len(c); i++ {
		total += area(c[i-1], c[i])
	}
	return total
}

// area is how many requests begin between two points.
func area(a, b Point) float64 { return (a.Rate + b.Rate) / 2 * (b.At - a.At).Seconds() }

// Schedule says when each request is due, one after the other.
type Schedule struct {
	curve   Curve
	random  *rand.Rand // nil for even distances
	segment int        // that the last one was in, by its end
	before  float64    // the area before that
	next    float64    // the area before the next request
}

// Schedule is the curve's, from its start. With a random number generator the
// distances are those of independent users (a Poisson process); without, they are
// as even as the curve has them.
func (c Curve) Schedule(random *rand.Rand) *Schedule {
	s := &Schedule{curve: c, random: random, segment: 1}
	if random != nil {
		s.next = random.ExpFloat64()
	}
	return s
}

// Next returns when the next request is due, from the start; ok is false behind the
// last.
func (s *Schedule) Next() (due time.Duration, ok bool) {
	const tiny = 1e-9 // what adding up rates loses
	for s.segment < len(s.curve) {
		a, b := s.curve[s.segment-1], s.curve[s.segment]
		if part := area(a, b); s.before+part <= s.next+tiny {
			s.before += part
			s.segment++
			continue
		}
		due = a.At + within(a, b, max(0, s.next-s.before))
		if s.random == nil {
			s.next++
		} else {
			s.next += s.random.ExpFloat64()
		}
		return due, true
	}
	return 0, false
}

// within is how long after a so much of the area to b has passed: the root of a
// quadratic equation, in the form that also holds where the rate is even.
func within(a, b Point, part float64) time.Duration {
	slope := (b.Rate - a.Rate) / (b.At - a.At).Seconds()
	root := math.Sqrt(max(0, a.Rate*a.Rate+2*slope*part))
	if a.Rate+root == 0 {
		return 0
	}
	return min(time.Duration(2*part/(a.Rate+root)*float64(time.Second)), b.At-a.At)
}

// The shapes that a curve can be made of by name.
const (
	Constant = "constant" // the rate, all the time
	Ramp     = "ramp"     // from nothing to the rate
	Spike    = "spike"    // the rate, and five times that in the middle fifth
	Sine     = "sine"     // up and down around the rate, four times
	Soak     = "soak"     // the rate, after a gentle start: for hours
)

// Shapes are all names of shapes.
func Shapes() []string { return []string{Constant, Ramp, Spike, Sine, Soak} }

const (
	spikeHeight = 5.0
	sineSwing   = 0.8 // of the rate
	sineWaves   = 4
	sinePoints  = 24 // of a wave, as straight lines
	soakStart   = time.Minute
)

// NewCurve is a shape at a rate, in requests a second, for a time.
func NewCurve(shape string, rate float64, length time.Duration) (Curve, error) {
	part := func(f float64) time.Duration { return time.Duration(f * float64(length)) }
	var c Curve
	switch shape {
	case Constant:
		c = Curve{{0, rate}, {length, rate}}
	case Ramp:
		c = Curve{{0, 0}, {length, rate}}
	case Spike:
		top := spikeHeight * rate
		c = Curve{{0, rate}, {part(.4), rate}, {part(.42), top}, {part(.58), top}, {part(.6), rate}, {length, rate}}
	case Sine:
		for i := range sineWaves*sinePoints + 1 {
			angle := 2 * math.Pi * float64(i) / sinePoints
			c = append(c, Point{part(float64(i) / (sineWaves * sinePoints)), rate * (1 + sineSwing*math.Sin(angle))})
		}
	case Soak:
		c = Curve{{0, rate / 10}, {min(soakStart, length/10), rate}, {length, rate}}
	default:
		return nil, fmt.Errorf("%w: no shape %.64q; want one of %s", ErrCurve, shape, strings.Join(Shapes(), ", "))
	}
	return c, c.Check()
}

// Stairs climbs in steps of one length, from a rate on, each a quarter higher.
func Stairs(rate float64, length, step time.Duration) (Curve, error) {
	const growth = 1.25
	var c Curve
	for at := time.Duration(0); at+step <= length; at += step {
		c = append(c, Point{at, rate}, Point{at + step, rate})
		rate *= growth
	}
	if len(c) == 0 {
		return nil, fmt.Errorf("%w: steps of %v do not fit into %v", ErrCurve, step, length)
	}
	return c, c.Check()
}

// Highest is the highest rate.
func (c Curve) Highest() float64 {
	highest := 0.0
	for _, p := range c {
		highest = max(highest, p.Rate)
	}
	return highest
}

// Faster is the curve with all rates so many times as high.
func (c Curve) Faster(times float64) Curve {
	out := slices.Clone(c)
	for i := range out {
		out[i].Rate *= times
	}
	return out
}

// Lasting is the curve, as long as that.
func (c Curve) Lasting(length time.Duration) Curve {
	out := slices.Clone(c)
	for i := range out {
		out[i].At = time.Duration(float64(length) * (float64(c[i].At) / float64(c.Length())))
	}
	return out
}

// between is how many requests are due from one time to another.
func (c Curve) between(from, until time.Duration) (total float64) {
	for i := 1; i < len(c); i++ {
		a, b := c[i-1], c[i]
		start, end := max(from, a.At), min(until, b.At)
		if start < end {
			slope := (b.Rate - a.Rate) / float64(b.At-a.At)
			total += area(Point{start, a.Rate + slope*float64(start-a.At)}, Point{end, a.Rate + slope*float64(end-a.At)})
		}
	}
	return total
}
