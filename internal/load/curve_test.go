package load

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// all is every due time of a curve.
func all(s *Schedule) (due []time.Duration) {
	for {
		d, ok := s.Next()
		if !ok {
			return due
		}
		due = append(due, d)
	}
}

// Whatever the shape: as many requests are due as the curve has area, in order, and up
// to any time as many as its area up to there.
func TestASchedulesRequestsAreItsCurvesArea(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		curve := Curve{{0, rapid.Float64Range(0, 200).Draw(t, "first")}}
		for range rapid.IntRange(1, 6).Draw(t, "points") {
			step := rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "apart")
			curve = append(curve, Point{curve.Length() + time.Duration(step), rapid.Float64Range(0, 200).Draw(t, "rate")})
		}
		if curve.Check() != nil {
			t.Skip("no curve")
		}
		due := all(curve.Schedule(nil))
		if want := math.Ceil(curve.Total() - 1e-6); math.Abs(float64(len(due))-want) > 1 {
			t.Fatalf("%d requests of %v", len(due), curve.Total())
		}
		for i, d := range due {
			if i > 0 && d < due[i-1] || d < 0 || d > curve.Length() {
				t.Fatalf("request %d is due at %v, the one before at %v", i, d, due[max(i-1, 0)])
			}
			if until := curve.between(0, d); math.Abs(until-float64(i)) > 1e-3 {
				t.Fatalf("request %d is due at %v, where the area is %v", i, d, until)
			}
		}
	})
}

func TestShapes(t *testing.T) {
	const rate, length = 100.0, 100 * time.Second
	at := func(c Curve, from, until time.Duration) float64 {
		return c.between(from, until) / (until - from).Seconds()
	}
	for shape, want := range map[string]struct{ begin, middle, end, total float64 }{
		Constant: {100, 100, 100, 10_000}, Ramp: {.5, 50, 99.5, 5000}, Spike: {100, 500, 100, 10_000 + 400*18}, Sine: {110, 100, 90, 10_000}, Soak: {14.5, 100, 100, 9550},
	} {
		c, err := NewCurve(shape, rate, length)
		if err != nil {
			t.Fatal(err)
		}
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > .01*want+.1 {
				t.Errorf("%s: %s is %v, want %v", shape, what, got, want)
			}
		}
		near("the begin", at(c, 0, time.Second), want.begin)
		near("the middle", at(c, 49*time.Second, 51*time.Second), want.middle)
		near("the end", at(c, length-time.Second, length), want.end)
		near("the total", c.Total(), want.total)
		if n := float64(len(all(c.Schedule(nil)))); math.Abs(n-want.total) > 2 {
			t.Errorf("%s: %v requests, want %v", shape, n, want.total)
		}
	}
}

func TestStairsClimbByAQuarter(t *testing.T) {
	c, err := Stairs(100, 35*time.Second, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{100, 125, 156.25} {
		from := time.Duration(i) * 10 * time.Second
		if got := c.between(from, from+10*time.Second) / 10; math.Abs(got-want) > 1e-6 {
			t.Errorf("step %d is %v, want %v", i, got, want)
		}
	}
	if c.Length() != 30*time.Second {
		t.Errorf("it lasts %v", c.Length())
	}
}

// Independent users come as many as the curve says on average, at uneven distances.
func TestIndependentUsersComeUnevenly(t *testing.T) {
	c, err := NewCurve(Constant, 100, 100*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	due := all(c.Schedule(rand.New(rand.NewPCG(1, 2))))
	if n := float64(len(due)); math.Abs(n-10_000) > 5*100 { // five standard deviations
		t.Errorf("%v users came, 10000 were to be expected", n)
	}
	short, long := 0, 0
	for i := 1; i < len(due); i++ {
		switch gap := due[i] - due[i-1]; {
		case gap < time.Millisecond:
			short++
		case gap > 30*time.Millisecond:
			long++
		}
	}
	if short < 500 || long < 200 { // e^-x: a tenth, and a twentieth
		t.Errorf("of the distances %d are short and %d long", short, long)
	}
}

func TestBadCurves(t *testing.T) {
	for name, c := range map[string]Curve{
		"none": nil, "a point": {{0, 1}}, "no time": {{0, 1}, {0, 1}}, "negative": {{0, -1}, {time.Second, 9}}, "no number": {{0, math.NaN()}, {time.Second, 9}},
		"backwards": {{0, 1}, {time.Minute, 1}, {time.Second, 1}}, "late": {{time.Second, 10}, {time.Minute, 10}}, "nothing": {{0, 0}, {time.Minute, 0}},
		"too fast": {{0, 1e7}, {time.Second, 1}}, "too long": {{0, 1}, {8 * 24 * time.Hour, 1}},
	} {
		if err := c.Check(); !errors.Is(err, ErrCurve) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewCurve("square", 1, time.Minute); !errors.Is(err, ErrCurve) {
		t.Errorf("an unknown shape: %v", err)
	}
	if _, err := Stairs(10, time.Second, time.Minute); !errors.Is(err, ErrCurve) {
		t.Errorf("a step longer than the climb: %v", err)
	}
}
