// Package probe places orders that are none, one in each partition in intervals, and
// follows each until it is shown as decided: so it is known that the bank's way is open also
// while no customer orders, and where it is not, at which step.
//
// A probe goes in by the door that clients use and through the same topics and services.
// What makes it none, and leaves it out of what is counted, is [banking.IsProbe].
//
// probe.go has the [Prober] and what it knows of decisions in the topics; metrics.go exports
// what came of the probes.
package probe

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/telemetry"
)

const (
	// DefaultInterval is how often each partition is probed where nothing else is set.
	DefaultInterval = 10 * time.Second
	// Patience is how long a probe may take at most, from when it is sent until it is shown.
	Patience = 10 * time.Second
	// MaxPartitions is how many partitions are probed at most: the first.
	MaxPartitions = 64
	// atOnce is how many probes are under way at most.
	atOnce = 8
	// firstLook and lastLook are how soon, and at most how far apart, it is looked whether a
	// probe is shown. A decision that is seen in the topics is looked for at once.
	firstLook, lastLook = 50 * time.Millisecond, 500 * time.Millisecond
	// slowAnswer is after how long suivi counts as away that has not answered when the time is up.
	slowAnswer = time.Second
)

// Reason says at which step a probe failed, as far as that was seen.
type Reason string

// The reasons.
const (
	// CommandeAway: it cannot be reached.
	CommandeAway Reason = "commande_away"
	// Unaccepted: it did not acknowledge the order in time, or not at all.
	Unaccepted Reason = "unaccepted"
	// Refused: it did not want the order, for its token, say.
	Refused Reason = "refused"
	// Unmarked: it took the order for one like any other. No more are placed.
	Unmarked Reason = "unmarked"
	// Undecided: neither was a decision seen, nor does suivi show one.
	Undecided Reason = "undecided"
	// DeadLettered: it stands among the dead letters.
	DeadLettered Reason = "dead_lettered"
	// Invisible: its decision stands in the topics, and suivi does not show it.
	Invisible Reason = "invisible"
	// SuiviAway: it cannot be reached, or cannot answer.
	SuiviAway Reason = "suivi_away"
	// SuiviRefused: it did not want to show the order.
	SuiviRefused Reason = "suivi_refused"
)

// Reasons returns every reason, in the order of the steps.
func Reasons() []Reason {
	return []Reason{CommandeAway, Unaccepted, Refused, Unmarked, Undecided, DeadLettered, Invisible, SuiviAway, SuiviRefused}
}

// What a [Bank] says of a service that gives no answer that would help.
var (
	// ErrAway: it cannot be reached.
	ErrAway = errors.New("away")
	// ErrRefused: it says no, and will say so again.
	ErrRefused = errors.New("refused")
)

// Bank is who takes and shows orders. Its methods are safe for concurrent use.
type Bank interface {
	// Place places a probe in a partition of orders.created, and returns its order's id.
	Place(ctx context.Context, partition int32) (orderID string, err error)
	// Shown returns the status that an order is shown with, "" while it is not known.
	Shown(ctx context.Context, orderID string) (banking.OrderStatus, error)
}

// Config is what a prober needs.
type Config struct {
	Interval  time.Duration // between two probes of a partition; above 0
	Patience  time.Duration // of each; default the interval, and [Patience] at most
	Bank      Bank
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger
	// Partitions says how many there are now.
	Partitions func() int
	// Credential identifies what probes are placed with, without showing it: where it
	// changes, probes that were taken for orders are tried again. It may be nil.
	Credential func() any
}

// Result is what came of the last probe of a partition.
type Result struct {
	Partition int32     `json:"partition"`
	OK        bool      `json:"ok"`
	Reason    Reason    `json:"reason,omitempty"` // why not
	Detail    string    `json:"detail,omitempty"` // the same in words
	OrderID   string    `json:"orderId,omitempty"`
	Ended     time.Time `json:"ended"`
	// LastSuccess is when one last went all the way; nil for not yet.
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	// Since it was sent, in seconds; 0 for a step that was not seen.
	Accepted float64 `json:"acceptedSeconds,omitempty"`
	Decided  float64 `json:"decidedSeconds,omitempty"`
	Visible  float64 `json:"visibleSeconds,omitempty"`
}

// Prober probes a bank. Its methods are safe for concurrent use, but for [Prober.Run], which
// is called once.
type Prober struct {
	cfg      Config
	watch    watch
	duration metric.Float64Histogram
	failures metric.Int64Counter
	registry metric.Registration
	now      func() time.Time

	mu       sync.Mutex
	results  map[int32]Result
	unmarked any  // the credential with which an order was one like any other
	halted   bool // because of it
}

// New makes a prober and exports its metrics. [Prober.Close] ends it.
func New(cfg Config) (*Prober, error) {
	if cfg.Patience <= 0 {
		cfg.Patience = min(cfg.Interval, Patience)
	}
	if cfg.Credential == nil {
		cfg.Credential = func() any { return nil }
	}
	p := &Prober{cfg: cfg, now: time.Now, results: map[int32]Result{}}
	return p, p.measure()
}

// Close takes the metrics off the page.
func (p *Prober) Close() error { return p.registry.Unregister() }

// Interval is how often each partition is probed.
func (p *Prober) Interval() time.Duration { return p.cfg.Interval }

// Saw notes that a decision on a probe stands in the topics. It may be called for any, as
// often as its record is read.
func (p *Prober) Saw(orderID string) { p.watch.saw(orderID) }

// Latest is what came of the last probe of each partition, in their order; none that is
// so old that it says nothing of now.
func (p *Prober) Latest() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Result
	for _, r := range p.results {
		if p.now().Sub(r.Ended) <= 3*p.cfg.Interval+p.cfg.Patience {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Result) int { return int(a.Partition) - int(b.Partition) })
	return all
}

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		began := time.Now()
		p.round(ctx)
		_ = lifecycle.Sleep(ctx, max(p.cfg.Interval-time.Since(began), time.Millisecond))
	}
	return nil
}

// round probes each partition once.
func (p *Prober) round(ctx context.Context) {
	count := min(p.cfg.Partitions(), MaxPartitions)
	var probing sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for partition := range int32(count) { //nolint:gosec // there are not so many
		if p.stopped() {
			break
		}
		probing.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			if r := p.probe(ctx, partition); ctx.Err() == nil {
				p.conclude(ctx, r)
			}
		})
		if partition == 0 { // whether probes are taken for such is known before there are many
			probing.Wait()
		}
	}
	probing.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for partition := range p.results {
		if int(partition) >= count {
			delete(p.results, partition)
		}
	}
}

// stopped says whether probes were taken for orders, by the credential that there still is.
func (p *Prober) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.halted && p.unmarked == p.cfg.Credential()
}

// probe sends one probe and follows it.
func (p *Prober) probe(parent context.Context, partition int32) Result {
	ctx, cancel := context.WithTimeout(parent, p.cfg.Patience)
	defer cancel()
	r := Result{Partition: partition}
	credential, began := p.cfg.Credential(), p.now()
	since := func() float64 { return p.now().Sub(began).Seconds() }
	id, err := p.cfg.Bank.Place(ctx, partition)
	if r.OrderID = id; err != nil {
		r.Reason, r.Detail = notPlaced(ctx, err), err.Error()
		return r
	}
	if !banking.IsProbe(id) {
		p.mu.Lock()
		p.halted, p.unmarked = true, credential
		p.mu.Unlock()
		r.Reason, r.Detail = Unmarked, "it was taken for an order like any other; no more are placed until the token or the process changes"
		return r
	}
	r.Accepted = since()
	decided, done := p.watch.await(id)
	defer done()
	wait := firstLook
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var shown banking.OrderStatus
	for {
		select {
		case <-ctx.Done():
			r.Reason, r.Detail = notShown(shown, r.Decided > 0, err)
			return r
		case <-decided:
			r.Decided, decided = since(), nil
			wait = firstLook
		case <-timer.C:
		}
		asked := p.now()
		status, failure := p.cfg.Bank.Shown(ctx, id)
		if failure == nil {
			shown = status
		}
		if ctx.Err() == nil || p.now().Sub(asked) > slowAnswer { // else it had no time to answer
			err = failure
		}
		switch {
		case shown.Decided():
			r.OK, r.Visible = true, since()
			return r
		case shown == banking.OrderStatusFailed:
			r.Reason, r.Detail = DeadLettered, "it stands among the dead letters; `vigie dlq list` says why"
			return r
		}
		timer.Reset(wait)
		wait = min(2*wait, lastLook)
	}
}

// notPlaced is why no order was placed.
func notPlaced(ctx context.Context, err error) Reason {
	switch {
	case errors.Is(err, ErrRefused):
		return Refused
	case errors.Is(err, ErrAway) && ctx.Err() == nil:
		return CommandeAway
	default:
		return Unaccepted
	}
}

// notShown is why an order that was accepted is not shown as decided: what was shown last, whether
// its decision was seen, and why suivi could not be asked.
func notShown(shown banking.OrderStatus, decided bool, err error) (Reason, string) {
	switch {
	case errors.Is(err, ErrRefused):
		return SuiviRefused, err.Error()
	case err != nil:
		return SuiviAway, err.Error()
	case decided:
		return Invisible, "its decision stands in the topics, and suivi does not show it"
	case shown == "":
		return Undecided, "it was accepted, and neither is a decision in the topics nor does suivi know it"
	default:
		return Undecided, "it was accepted, and no decision was seen"
	}
}

// conclude keeps, counts and tells what came of a probe.
func (p *Prober) conclude(ctx context.Context, r Result) {
	p.mu.Lock()
	before, known := p.results[r.Partition]
	r.Ended, r.LastSuccess = p.now(), before.LastSuccess
	if r.OK {
		r.LastSuccess = &r.Ended
	}
	p.results[r.Partition] = r
	p.mu.Unlock()
	p.count(ctx, r)
	log := p.cfg.Log.With("partition", r.Partition, "order_id", r.OrderID)
	switch {
	case r.Reason == Unmarked:
		log.ErrorContext(ctx, "a probe was taken for an order: commande and sentinelle do not have the same token for probes; no more are placed")
	case !r.OK && (!known || before.Reason != r.Reason):
		log.WarnContext(ctx, "a probe failed", "reason", r.Reason, "detail", r.Detail)
	case r.OK && known && !before.OK:
		log.InfoContext(ctx, "probes come through again")
	}
}

// maxUnasked is how many decisions are remembered that nobody has waited for yet: a decision
// may be read before commande has answered, and others probe as well.
const maxUnasked = 4 * MaxPartitions

// watch knows which decisions stand in the topics.
type watch struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
	unasked []string // the oldest first
}

func (w *watch) saw(orderID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seen, ok := w.waiting[orderID]; ok {
		close(seen)
		delete(w.waiting, orderID)
		return
	}
	if w.unasked = append(w.unasked, orderID); len(w.unasked) > maxUnasked {
		w.unasked = w.unasked[1:]
	}
}

// await returns what is closed once a decision on the order was seen, and what ends the wait.
func (w *watch) await(orderID string) (seen <-chan struct{}, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	closes := make(chan struct{})
	if slices.Contains(w.unasked, orderID) {
		close(closes)
		return closes, func() {}
	}
	if w.waiting == nil {
		w.waiting = map[string]chan struct{}{}
	}
	w.waiting[orderID] = closes
	return closes, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, orderID)
	}
}
