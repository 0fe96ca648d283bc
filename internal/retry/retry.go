// Package retry repeats what failed because something was away or in the way: a
// broker, a database, another's transaction. It exists so that all such loops
// wait, give up and end with a stop in the same way.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Policy says how long to wait between tries, and when to give up.
type Policy struct {
	// First is the wait after the first try. Waits grow by half each time, up
	// to Most, and vary at random by half of their length, so that those who
	// wait for the same do not all come back at once.
	First, Most time.Duration
	// Patience bounds the time from the first try to the last; 0 sets no bound.
	Patience time.Duration
	// Tries bounds the tries; 0 sets no bound.
	Tries uint
	// Waiting is called with each failure that another try follows, and after
	// how long. It may be nil.
	Waiting func(err error, delay time.Duration)
}

// Stop makes an error that ends [Policy.Do]: another try cannot help. Do
// returns the error itself.
func Stop(err error) error { return backoff.Permanent(err) }

// Do does the work, at least once, until it succeeds. It returns the last try's
// error where that is a [Stop], where patience or tries are used up, and, with
// ctx's own error, where ctx has ended.
func (p Policy) Do(ctx context.Context, work func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = p.First, p.Most
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = work()
		return struct{}{}, last
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(p.Patience), backoff.WithMaxTries(p.Tries), backoff.WithNotify(p.Waiting))
	if cause := context.Cause(ctx); err != nil && err == cause { //nolint:errorlint // the library's own word that ctx has ended
		return fmt.Errorf("%w: %w", cause, last)
	}
	if stop, ok := errors.AsType[*backoff.PermanentError](err); ok { // of the last try that there may be
		return stop.Unwrap()
	}
	return err
}
