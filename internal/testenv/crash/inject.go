//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

const (
	// sessionTimeout is the shortest that brokers allow as they come.
	sessionTimeout = 6 * time.Second
	// frozen is long enough for the group to have given the partitions away.
	frozen = sessionTimeout + 2*time.Second
	// stepPatience bounds the wait for a service to come to its step.
	stepPatience = 30 * time.Second
	maxKills     = 2
	maxAfter     = 1500 * time.Millisecond // from load, or a restart, to a kill
	maxDown      = 300 * time.Millisecond
)

// pause waits for a time of the round's own choice.
func (r *round) pause(ctx context.Context, most time.Duration) error {
	return lifecycle.Sleep(ctx, time.Duration(r.random.Int64N(int64(most))))
}

// repeatedly kills and restarts once or twice: the next kill may hit
// what the restart is about to mend.
func repeatedly(ctx context.Context, r *round, kill func(), restart func(context.Context) error) error {
	for range 1 + r.random.IntN(maxKills) {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		kill()
		if err := r.pause(ctx, maxDown); err != nil {
			return err
		}
		if err := restart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// instance is one of those of the service that suffers.
func (r *round) instance() *testsystem.Service {
	all := r.system.Instances(r.breakage.service)
	return all[r.random.IntN(len(all))]
}

func killService(ctx context.Context, r *round) error {
	s := r.instance()
	return repeatedly(ctx, r, s.Kill, func(ctx context.Context) error { return s.Start(ctx) })
}

func killServices(ctx context.Context, r *round) error {
	return repeatedly(ctx, r, r.system.Kill, r.system.Start)
}

func killBroker(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	r.broker.Kill()
	if err := r.pause(ctx, maxDown); err != nil {
		return err
	}
	return r.broker.Restart(ctx)
}

// killEverything is a power cut as far as processes can have one.
func killEverything(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	var both sync.WaitGroup
	both.Go(r.system.Kill)
	both.Go(r.broker.Kill)
	both.Wait()
	if err := r.broker.Restart(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}

func brokerAway(ctx context.Context, r *round) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	if r.random.IntN(2) == 0 {
		r.broker.Kill()
	} else if err := r.broker.Stop(); err != nil {
		return err
	}
	if err := lifecycle.Sleep(ctx, r.cfg.Away); err != nil {
		return err
	}
	return r.broker.Restart(ctx)
}

// freezeService makes a zombie: its partitions are given away while it stands
// still with a batch in hand, and it wakes up in the middle of it.
func freezeService(ctx context.Context, r *round) error {
	return freeze(ctx, r, r.instance().Process(), frozen)
}

// freezeBroker leaves connections open that do not answer.
func freezeBroker(ctx context.Context, r *round) error {
	return freeze(ctx, r, r.broker.Process(), 2*ackTimeout)
}

func freeze(ctx context.Context, r *round, p *testproc.Process, d time.Duration) error {
	if err := r.pause(ctx, maxAfter); err != nil {
		return err
	}
	if err := p.Freeze(); err != nil {
		return err
	}
	return errors.Join(lifecycle.Sleep(ctx, d), p.Thaw())
}

// dieAtStep waits for the service to die where its environment says, and
// starts it without.
func dieAtStep(ctx context.Context, r *round) error {
	s := r.system.Service(r.breakage.service)
	patience, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	ticker := time.NewTicker(stepPoll)
	defer ticker.Stop()
	for sprinkle := publishes(r.breakage.service, r.breakage.step); ; {
		if sprinkle {
			if err := r.putPoison(patience, poisonable(), 1); err != nil {
				return err
			}
		}
		select {
		case <-s.Process().Done():
			if status := s.Process().Status(); status != -1 {
				return fmt.Errorf("%s ended with %d instead of dying %s", s.Name, status, r.breakage.step)
			}
			return s.Start(ctx)
		case <-ticker.C:
		case <-patience.Done():
			return fmt.Errorf("%s did not come to %s: %w", s.Name, r.breakage.step, patience.Err())
		}
	}
}

// stepPoll is the time between two poison records on the way to a step.
const stepPoll = 200 * time.Millisecond

// quiet leaves the system alone under load for a moment.
func quiet(ctx context.Context, r *round) error { return r.pause(ctx, maxAfter) }
