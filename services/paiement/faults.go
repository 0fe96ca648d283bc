package paiement

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/faults"
)

// Adjustable is a simulated authoriser whose settings faults change while it works.
// The zero value decides at once and authorises all until [Adjustable.Reset].
type Adjustable struct {
	mu      sync.Mutex
	base    Simulation
	changes []*change // in force, in the order in which they came
	current Simulation
	valid   context.Context // of the current settings: ends when they change; nil before the first
	expire  context.CancelFunc
}

// change is what a fault changes of the settings.
type change func(*Simulation)

// Reset gives it the settings that it has while no fault changes them.
func (a *Adjustable) Reset(base Simulation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.base = base
	a.set()
}

// Authorise implements [Authoriser]. A call that waits begins anew when the settings
// change: it does not wait on when a fault has ended.
func (a *Adjustable) Authorise(ctx context.Context, orderID string, amount banking.Money) (Verdict, error) {
	for {
		settings, valid := a.settings()
		call, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(valid, cancel)
		verdict, err := settings.Authorise(call, orderID, amount)
		stop()
		cancel()
		if err == nil || ctx.Err() != nil || valid.Err() == nil {
			return verdict, err
		}
	}
}

// settings are the current ones, with a context that ends when they change.
func (a *Adjustable) settings() (Simulation, context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.valid == nil {
		a.set()
	}
	return a.current, a.valid
}

// set takes up a base or changes, under the lock.
func (a *Adjustable) set() {
	a.current = a.base
	for _, c := range a.changes {
		(*c)(&a.current)
	}
	if a.expire != nil {
		a.expire()
	}
	a.valid, a.expire = context.WithCancel(context.Background())
}

// hold has a change be in force until ctx ends: a fault's Run.
func (a *Adjustable) hold(c change) func(context.Context, func()) error {
	return func(ctx context.Context, inForce func()) error {
		mine := &c
		a.mu.Lock()
		a.changes = append(a.changes, mine)
		a.set()
		a.mu.Unlock()
		inForce()
		<-ctx.Done()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.changes = slices.DeleteFunc(a.changes, func(other *change) bool { return other == mine })
		a.set()
		return nil
	}
}

const (
	// forEver is longer than any fault is in force.
	forEver = 2 * faults.MaxLength
	// slow is how long a slow authoriser takes. With it a partition's batch of
	// [concurrency] payments takes as long: fewer than are placed.
	slow = 40 * time.Second
	// mostRejected is four times what is usual.
	mostRejected = 0.8
)

// Faults returns what can go wrong with the authoriser.
func (a *Adjustable) Faults() []faults.Fault {
	return []faults.Fault{
		{
			Name: "authoriser-hangs", Does: "The authoriser does not answer: paiement waits in its handler for ever.",
			Alert: "ConsumerStalled", Within: 2 * time.Minute, Follows: []string{"OrdersNotDecided", "OrdersFreshnessBurn"},
			Run: a.hold(func(s *Simulation) { s.Latency = forEver }),
		},
		{
			Name: "authoriser-slow", Does: "The authoriser takes 40 seconds for each payment.",
			Alert: "OrdersNotDecided", Within: 90 * time.Second, Follows: []string{"ConsumerStalled", "OrdersFreshnessBurn"},
			Run: a.hold(func(s *Simulation) { s.Latency = slow }),
		},
		{
			Name: "authoriser-down", Does: "The authoriser fails each time that it is asked.",
			Alert: "PaymentsFailing", Within: 4 * time.Minute, Follows: []string{"OrdersCoverageBurn"}, Leaves: "the dead letters, until `vigie dlq replay --reason authoriser`",
			Run: a.hold(func(s *Simulation) { s.ErrorRate = 1 }),
		},
		{
			Name: "rejections-high", Does: "The authoriser rejects four of five payments.",
			Alert: "PaymentRejectionsHigh", Within: 12 * time.Minute,
			Run: a.hold(func(s *Simulation) { s.RejectRate = mostRejected }),
		},
		{
			Name: "rejections-vanish", Does: "The authoriser rejects no payment any more.",
			// Ten minutes without any, and two for which that lasts.
			Alert: "PaymentRejectionsAbsent", Within: 15 * time.Minute,
			Run: a.hold(func(s *Simulation) { s.RejectRate = 0 }),
		},
	}
}
