package delivery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// longestWait has records come evenly for two seconds, and a worker process what is
// there in no time. It returns how long a batch waited for its round at the most, once
// the rounds had settled.
func longestWait(perSecond int) (longest time.Duration) {
	p, start, gap := &pace{}, time.Now(), time.Second/time.Duration(perSecond)
	came := func() int { return int(time.Since(start) / gap) }
	for taken := 0; time.Since(start) < 2*time.Second; taken = came() {
		<-time.After(gap - time.Since(start)%gap)
		began := time.Now()
		p.wait(context.Background(), came()-taken)
		p.took(came() - taken)
		if time.Since(start) > time.Second {
			longest = max(longest, time.Since(began))
		}
	}
	return longest
}

func TestRoundsGrowWithLoadAndNotWithIdleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for perSecond, busy := range map[int]bool{1: false, 200: false, 900: false, 2000: true, 20_000: true} {
			if got := longestWait(perSecond); got > longestRound || (got > longestRound/2) != busy || !busy && got > 0 {
				t.Errorf("at %d records a second a batch waits up to %v; at most %v, and none where they are few", perSecond, got, longestRound)
			}
		}
	})
}

// Batches whose records come during a round begin at one moment, so that one
// transaction can have them; a large one costs little alone.
func TestBatchesBeginTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := &pace{}, time.Now()
		p.took(10)
		begun := make(chan time.Duration, 4)
		for i, ready := range []int{1, 5, 1, fullBatch} {
			go func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				p.wait(t.Context(), ready)
				p.took(ready)
				begun <- time.Since(start)
			}()
		}
		if got := <-begun; got != 3*time.Millisecond {
			t.Errorf("a full batch begins after %v", got)
		}
		first := <-begun
		for range 2 {
			if got := <-begun; got != first {
				t.Errorf("batches begin after %v and %v", first, got)
			}
		}
	})
}

func TestNoBatchIsWaitedForWhenTheSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := &pace{}, time.Now()
		p.took(1000)
		session, end := context.WithCancel(t.Context())
		end()
		if p.wait(session, 1); time.Since(start) != 0 {
			t.Errorf("waited %v", time.Since(start))
		}
	})
}
