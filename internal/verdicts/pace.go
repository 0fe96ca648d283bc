package verdicts

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vigie-dev/vigie/internal/i18n"
)

// point is what waited at a time.
type point struct {
	at             time.Time
	committed, end int64
	lag            int64
}

// maxPoints bounds the work of a slope, which looks at all pairs.
const maxPoints = 24

// pacePoints returns what says how fast the group reads: the samples that saw its
// commit move, since between two of them a group that commits seldom only seems to
// fall behind. They are of the window, or of a longer time where it has fewer than
// four; none is of before the commit rested too long or went back.
func (l *looked) pacePoints() []point {
	var points []point
	for _, m := range slices.Backward(l.moves) {
		s := &l.samples[m.number]
		lag, known := s.Lag().Get()
		end, ended := s.Readable().Get()
		if !known || !ended {
			continue
		}
		if len(points) >= maxPoints || len(points) >= 4 && l.last.At.Sub(s.At) > l.rules.Window || !s.At.After(l.back) {
			break
		}
		committed, _ := s.Committed.Get()
		points = append(points, point{s.At, committed, end, lag})
		if m.rested >= l.stall() {
			break
		}
	}
	slices.Reverse(points)
	return points
}

// slope is how what waits changes, in records per second: the median of the
// slopes between all pairs (Theil and Sen), which a few odd points do not move.
func slope(points []point) float64 {
	var slopes []float64
	for i := range points {
		for _, p := range points[i+1:] {
			slopes = append(slopes, float64(p.lag-points[i].lag)/p.at.Sub(points[i].at).Seconds())
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return (slopes[(len(slopes)-1)/2] + slopes[len(slopes)/2]) / 2
}

// speeds says how fast the group reads and how fast records come.
func (l *looked) speeds(points []point) i18n.Text {
	first, last := points[0], points[len(points)-1]
	passed := last.at.Sub(first.at).Seconds()
	return i18n.Textf("reads %s/s, %s/s come", rate(float64(last.committed-first.committed)/passed), rate(float64(last.end-first.end)/passed))
}

// seconds is a duration, bounded by what a duration can be.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, maxSeconds) * float64(time.Second))
}

func rate(perSecond float64) i18n.Number {
	if perSecond < 10 {
		return i18n.Number(fmt.Sprintf("%.2g", perSecond))
	}
	return i18n.Number(fmt.Sprintf("%.0f", math.Round(perSecond)))
}
