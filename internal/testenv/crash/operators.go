//go:build unix

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// operatorBreakages is what the system's operators do to it.
func operatorBreakages() []breakage {
	return []breakage{
		{name: "clock steps", wallClock: true, during: stepClock},
		{name: "decisions deleted and reset", during: forgetDecisions},
		{name: "reset", during: reset},
		{name: "purge", letters: true, during: purge},
		{name: "purge and reset", letters: true, during: purgeAndReset},
	}
}

// vigie runs a command of the operator's on the round's broker and state.
func (r *round) vigie(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, r.binary, append(args, "--kafka-brokers", r.broker.Address())...) //nolint:gosec // our own
	cmd.Env = append(append(os.Environ(), r.env...), "VIGIE_DATA="+r.data, "DATABASE_URL="+r.url)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("vigie %s: %w\n%s", args[0], err, &output)
	}
	return nil
}

// reset has the operator reset what the consumers have stored, once or twice.
// It may be cut short anywhere; then it is done again, or not.
func reset(ctx context.Context, r *round) error {
	for range 1 + r.random.IntN(maxKills) {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		if err := r.resetOnce(ctx); err != nil {
			return err
		}
		if err := r.taken(ctx, underWay); err != nil {
			return err
		}
	}
	return nil
}

// maxReset is about what a reset takes.
const maxReset = 700 * time.Millisecond

func (r *round) resetOnce(ctx context.Context) error {
	if r.random.IntN(2) == 0 {
		r.system.Kill()
	} else {
		stopping, cancel := context.WithTimeout(ctx, stopPatience)
		_, err := r.system.Stop(stopping)
		cancel()
		if err != nil {
			return err
		}
	}
	again := true
	if r.random.IntN(2) == 0 {
		cut, cancel := context.WithTimeout(ctx, time.Duration(r.random.Int64N(int64(maxReset))))
		again = r.vigie(cut, "reset", "--yes") != nil && r.random.IntN(2) == 0
		cancel()
	}
	if again {
		if err := r.resetStopped(ctx); err != nil {
			return err
		}
	}
	return r.system.Start(ctx)
}

// resetStopped resets what services have stored that do not run. Those that were
// killed are members of their groups until their sessions are over, and a reset
// refuses as long as it takes: it is tried again.
func (r *round) resetStopped(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for {
		err := r.vigie(ctx, "reset", "--yes")
		if err == nil || lifecycle.Sleep(ctx, restPoll) != nil {
			return err
		}
	}
}

// forgetDecisions deletes decisions before their orders, and resets: the services
// cannot know any more how some orders were decided, and must not decide them
// anew. They stand among the dead letters then.
func forgetDecisions(ctx context.Context, r *round) error {
	if err := r.taken(ctx, underWay); err != nil {
		return err
	}
	stopping, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if _, err := r.system.Stop(stopping); err != nil {
		return err
	}
	for _, topic := range []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected} {
		if err := r.deleteFrom(ctx, topic); err != nil {
			return fmt.Errorf("delete records of %s: %w", topic, err)
		}
	}
	r.rebuilt = true
	if err := r.resetStopped(ctx); err != nil {
		return err
	}
	return r.system.Start(ctx)
}

// purges is how often the operator gives letters up.
const purges = 4

// purge has the operator give up what was set aside, while more is, and while a
// colleague replays the same: an order is purged or decided, and never both.
func purge(ctx context.Context, r *round) error {
	var letters int64
	for n := range purges {
		if err := r.taken(ctx, underWay/2); err != nil {
			return err
		}
		var err error
		if letters, err = r.moreLetters(ctx, letters); err != nil {
			return err
		}
		var both errgroup.Group
		both.Go(func() error { return r.vigie(ctx, "dlq", "purge", "--all-letters", "--yes") })
		if n%2 == 1 {
			both.Go(func() error { return r.vigie(ctx, "dlq", "replay", "--all-letters") })
		}
		if err := both.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// moreLetters waits until more stands on orders.dlq than before, and returns how
// much that is.
func (r *round) moreLetters(ctx context.Context, than int64) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for {
		spans, err := bounds(ctx, r.broker.Address(), banking.TopicOrdersDLQ)
		n = 0
		for _, s := range spans {
			n += s.End
		}
		if err == nil && n > than {
			return n, nil
		}
		if lifecycle.Sleep(ctx, restPoll) != nil {
			return n, errors.Join(errors.New("nothing more is set aside"), err)
		}
	}
}

// purgeAndReset shows that a purge binds also when all that the services know
// is read again.
func purgeAndReset(ctx context.Context, r *round) error {
	return errors.Join(purge(ctx, r), reset(ctx, r))
}

// clockSteps are how far the time of day is set.
func clockSteps() []time.Duration {
	const day = 24 * time.Hour
	return []time.Duration{91 * day, -91 * day, 400 * day, -400 * day, 30 * time.Minute, -30 * time.Minute}
}

// believed is the farthest from a broker's own time that records may be: a real
// Kafka refuses those that are an hour ahead.
const believed = time.Hour

// stepClock sets the time of day under the running services, restarts them with
// the wrong time, twice, sets it right and restarts them once more.
func stepClock(ctx context.Context, r *round) error {
	all := clockSteps()
	for _, step := range []time.Duration{all[r.random.IntN(len(all))], 0} {
		if err := r.pause(ctx, maxAfter); err != nil {
			return err
		}
		if err := r.setClock(step); err != nil {
			return err
		}
		for range 2 {
			if err := r.pause(ctx, maxAfter); err != nil {
				return err
			}
			r.system.Kill()
			if err := r.system.Start(ctx); err != nil {
				return err
			}
			if err := goesBy(ctx, r.system.URL(testsystem.Commande), step); err != nil {
				return err
			}
			if step > believed && r.cfg.Broker != Embedded {
				continue
			}
			if err := r.taken(ctx, underWay/2); err != nil {
				return err
			}
		}
	}
	return nil
}

// goesBy checks that a service's time of day is so much after the true one, as
// its responses say.
func goesBy(ctx context.Context, url string, step time.Duration) error {
	const tolerance = 10 * time.Minute
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return fmt.Errorf("read the clock of %s: %w", url, err)
	}
	client := &http.Client{Timeout: recovery, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("read the clock of %s: %w", url, err)
	}
	_ = response.Body.Close()
	says, err := http.ParseTime(response.Header.Get("Date"))
	if off := time.Until(says) - step; err == nil && off.Abs() > tolerance {
		err = fmt.Errorf("it is %v off", off)
	}
	if err != nil {
		return fmt.Errorf("set the clock of %s to %v after the true time: %w", url, step, err)
	}
	return nil
}

// clockFile is what the round's processes are told the time by.
func (r *round) clockFile() string { return filepath.Join(r.folder, "clock") }

// setClock sets the time of day of the round's processes to so much after the
// true time.
func (r *round) setClock(step time.Duration) error {
	aside := r.clockFile() + ".new"
	err := os.WriteFile(aside, []byte(step.String()), 0o600)
	if err == nil {
		err = os.Rename(aside, r.clockFile()) // never half
	}
	if err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}
