package verdicts_test

import (
	"fmt"
	"time"

	"github.com/vigie-dev/vigie/internal/verdicts"
)

// burrow judges as the rules say that Burrow publishes in its wiki
// (https://github.com/linkedin/Burrow/wiki/Consumer-Lag-Evaluation-Rules), and as
// its later releases do, which look for a stop and a commit that went back before
// they call a window well in which nothing waited once
// (https://github.com/linkedin/Burrow/pull/338 and 716). It knows what Burrow knows:
// the last ten commits, each with the lag at its time, and the log's latest ends. A
// commit that repeats an offset is not in the samples, so it is left out here too.
type burrow struct {
	commits []burrowCommit
	ends    []int64
}

type burrowCommit struct {
	offset, lag int64
	at          time.Time
}

const burrowIntervals = 10

func (b *burrow) see(s verdicts.Sample) {
	if end, known := s.End.Get(); known {
		b.ends = append(b.ends, end)
		b.ends = b.ends[max(0, len(b.ends)-burrowIntervals):]
	}
	offset, known := s.Committed.Get()
	n := len(b.commits)
	if !known || len(b.ends) == 0 || n > 0 && b.commits[n-1].offset == offset {
		return
	}
	b.commits = append(b.commits, burrowCommit{offset, max(0, b.end()-offset), s.At})
	b.commits = b.commits[max(0, len(b.commits)-burrowIntervals):]
}

func (b *burrow) end() int64 { return b.ends[len(b.ends)-1] }

// said is a status, and by which rule.
type said struct{ status, why string }

// trouble says whether the status tells that something is wrong.
func (s said) trouble() bool { return s.status != "OK" && s.status != "NOTFOUND" }

// says is the status by the wiki, and by the later releases behind a slash where
// that is another.
func (b *burrow) says(now time.Time) said {
	wiki, later := b.wiki(now), b.later(now)
	if wiki == later {
		return wiki
	}
	return said{wiki.status + "/" + later.status, "by the wiki " + wiki.why + ", by later releases " + later.why}
}

func (b *burrow) wiki(now time.Time) said {
	n := len(b.commits)
	switch {
	case n == 0:
		return said{"NOTFOUND", "no commit was seen"}
	case b.end() <= b.commits[n-1].offset:
		return said{"OK", "the last commit is the log's end, or beyond it"}
	case b.any(func(_, c burrowCommit) bool { return c.lag == 0 }): // rule 1
		return said{"OK", fmt.Sprintf("nothing waited at one of the last %d commits", n)}
	case b.stopped(now): // rule 4
		return said{"STOP", fmt.Sprintf("there was no commit for longer than the last %d took", n)}
	case n < 2:
		return said{"OK", "one commit shows no more"}
	case !b.any(func(before, c burrowCommit) bool { return c.offset != before.offset || c.lag < before.lag }): // rule 2
		return said{"STALL", fmt.Sprintf("the last %d commits are one offset", n)}
	case !b.any(func(before, c burrowCommit) bool { return c.lag < before.lag }): // rule 3
		return said{"WARN", fmt.Sprintf("less waited at none of the last %d commits than before", n)}
	default:
		return said{"OK", fmt.Sprintf("less waited at one of the last %d commits than before", n)}
	}
}

func (b *burrow) later(now time.Time) said {
	if len(b.commits) == 0 || b.end() <= b.commits[len(b.commits)-1].offset {
		return b.wiki(now)
	}
	last, waited := b.commits[len(b.commits)-1], true
	for _, end := range b.ends {
		waited = waited && end > last.offset
	}
	recovered := !b.any(func(_, c burrowCommit) bool { return c.offset > last.offset })
	switch {
	case b.stopped(now) && waited:
		return said{"STOP", fmt.Sprintf("there was no commit for longer than the last %d took", len(b.commits))}
	case !recovered && b.any(func(before, c burrowCommit) bool { return c.offset < before.offset }):
		return said{"REWIND", "a commit went back, and none is where it was"}
	default:
		return b.wiki(now)
	}
}

// any says whether a commit is so, seen beside the one before it.
func (b *burrow) any(so func(before, c burrowCommit) bool) bool {
	for i, c := range b.commits {
		if so(b.commits[max(0, i-1)], c) {
			return true
		}
	}
	return false
}

func (b *burrow) stopped(now time.Time) bool {
	first, last := b.commits[0], b.commits[len(b.commits)-1]
	return now.Sub(last.at) > last.at.Sub(first.at)
}
