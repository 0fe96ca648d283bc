package retry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vigie-dev/vigie/internal/retry"
)

var errAway = errors.New("away")

// The clock of these tests is synctest's: nothing here depends on the machine.
func TestWaitsGrowAndVary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{First: time.Second, Most: 4 * time.Second}
		var waits []time.Duration
		p.Waiting = func(err error, delay time.Duration) {
			if !errors.Is(err, errAway) {
				t.Errorf("waiting because of %v", err)
			}
			waits = append(waits, delay)
		}
		start := time.Now()
		if err := p.Do(t.Context(), func() error {
			if len(waits) == 20 {
				return nil
			}
			return errAway
		}); err != nil {
			t.Error(err)
		}
		var total time.Duration
		want := time.Second
		for i, wait := range waits {
			if wait < want/2 || wait > want*3/2 {
				t.Errorf("wait %d is %v, want about %v", i+1, wait, want)
			}
			want = min(want*3/2, 4*time.Second)
			total += wait
		}
		if since := time.Since(start); since != total || len(waits) != 20 {
			t.Errorf("%d waits, %v in all, and %v have passed", len(waits), total, since)
		}
	})
}

func TestWhenItIsGivenUp(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		policy  retry.Policy
		timeout time.Duration
		work    func(try int) error
		tries   int // at least
		want    []error
	}{
		"at once, for it succeeds": {work: func(int) error { return nil }, tries: 1},
		"for a try succeeds": {work: func(try int) error {
			if try < 3 {
				return errAway
			}
			return nil
		}, tries: 3},
		"for no try can help":        {work: func(int) error { return retry.Stop(broken) }, tries: 1, want: []error{broken}},
		"for the last try stops":     {policy: retry.Policy{Tries: 1}, work: func(int) error { return retry.Stop(broken) }, tries: 1, want: []error{broken}},
		"for tries are used up":      {policy: retry.Policy{Tries: 4}, work: func(int) error { return errAway }, tries: 4, want: []error{errAway}},
		"for patience is over":       {policy: retry.Policy{Patience: time.Minute}, work: func(int) error { return errAway }, tries: 10, want: []error{errAway}},
		"for the context has ended":  {timeout: time.Minute, work: func(int) error { return errAway }, tries: 10, want: []error{errAway, context.DeadlineExceeded}},
		"for it had ended before":    {timeout: -1, work: func(int) error { return errAway }, tries: 1, want: []error{errAway, context.DeadlineExceeded}},
		"not, where it succeeds yet": {timeout: -1, work: func(int) error { return nil }, tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.timeout != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.timeout)
					defer cancel()
				}
				p := tt.policy
				p.First, p.Most = time.Second, 4*time.Second
				start, tries := time.Now(), 0
				err := p.Do(ctx, func() error { tries++; return tt.work(tries) })
				for _, want := range tt.want {
					if !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				}
				if strings.Contains(fmt.Sprintf("%T", err), "Permanent") {
					t.Errorf("%T: not the error itself", err)
				}
				if (err != nil) != (len(tt.want) > 0) || tries < tt.tries {
					t.Errorf("%v after %d tries", err, tries)
				}
				if exact := tt.policy.Patience == 0 && tt.timeout <= 0; exact && tries != tt.tries {
					t.Errorf("%d tries, want %d", tries, tt.tries)
				}
				if since := time.Since(start); since > time.Minute {
					t.Errorf("given up after %v", since)
				}
			})
		})
	}
}
