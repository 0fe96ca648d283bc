package load

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	// followEvery and followMost bound how many orders are followed: to ask for all
	// of them, all the time, would be most of the load.
	followEvery = 100 * time.Millisecond
	followMost  = 64
	// An order that is followed is asked for more and more rarely.
	firstLook, longestLook = 5 * time.Millisecond, 100 * time.Millisecond
	// askers is how many ask for the promised orders at a time in the end.
	askers = 16
	// roundPause is between two rounds of that.
	roundPause = 250 * time.Millisecond
	// maxID bounds an order's id, in bytes.
	maxID = 128
)

// view is what suivi says of an order.
type view struct {
	Status  banking.OrderStatus
	Details struct{ ProcessedAt *time.Time }
}

// errAway: suivi did not say what it knows of an order.
var errAway = errors.New("suivi does not answer")

// look asks for an order; ok is false where suivi knows none.
func look(ctx context.Context, cfg *Config, client *http.Client, id string, turn int) (v view, ok bool, err error) {
	target := cfg.Suivi[turn%len(cfg.Suivi)]
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, target.URL+"/orders/"+url.PathEscape(id)+"/status", nil)
	if err != nil {
		return v, false, err
	}
	status, body, err := answer(client, q, target.Token)
	switch {
	case err != nil:
		return v, false, err
	case status == http.StatusNotFound:
		return v, false, nil
	case status != http.StatusOK || json.Unmarshal(body, &v) != nil:
		return v, false, errAway
	}
	return v, true, nil
}

// follower follows a sample of the accepted orders until they are decided and
// visible.
type follower struct {
	cfg    *Config
	client *http.Client

	mu               sync.Mutex
	all              sync.WaitGroup
	next             time.Time // when the next one may be followed
	now              int
	followed, late   int64
	decided, visible *hdrhistogram.Histogram
	steps            map[int]*[2]int64 // of stairs: orders, and how many of them were late
}

func newFollower(cfg *Config, client *http.Client) *follower {
	return &follower{cfg: cfg, client: client, decided: newHistogram(), visible: newHistogram(), steps: map[int]*[2]int64{}}
}

// offer follows an order that was accepted at a time, unless it is too early for
// another, or too many are followed.
func (f *follower) offer(id string, accepted time.Time, due time.Duration) {
	if len(f.cfg.Suivi) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if accepted.Before(f.next) || f.now == followMost {
		return
	}
	f.next = accepted.Add(followEvery)
	f.now++
	f.followed++
	turn := int(f.followed)
	f.all.Go(func() { f.one(id, accepted, due, turn) })
}

// one follows an order. What is not visible by twice the objective is given up, and
// counts as having taken that: it is late in any case, and the end asks for it again.
func (f *follower) one(id string, accepted time.Time, due time.Duration, turn int) {
	ctx, cancel := context.WithDeadline(context.Background(), accepted.Add(2*f.cfg.Objectives.Visible))
	defer cancel()
	pause := firstLook
	for {
		v, ok, _ := look(ctx, f.cfg, f.client, id, turn)
		if ok && settled(v.Status) {
			f.end(v, time.Since(accepted), accepted, due)
			return
		}
		if lifecycle.Sleep(ctx, pause) != nil {
			f.end(view{}, time.Since(accepted), accepted, due)
			return
		}
		pause = min(2*pause, longestLook)
	}
}

// settled says whether nothing more is expected of an order: it is decided, or
// stands among the dead letters.
func settled(s banking.OrderStatus) bool { return s.Decided() || s == banking.OrderStatusFailed }

// end records how an order went. When it was decided is the service's own word; on
// one machine both clocks are one.
func (f *follower) end(v view, visible time.Duration, accepted time.Time, due time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now--
	put(f.visible, visible)
	decided := visible
	if at := v.Details.ProcessedAt; at != nil {
		decided = min(max(0, at.Sub(accepted)), visible)
	}
	put(f.decided, decided)
	late := visible > f.cfg.Objectives.Visible
	if late {
		f.late++
	}
	if f.cfg.Step == 0 {
		return
	}
	step := int(due / f.cfg.Step)
	if f.steps[step] == nil {
		f.steps[step] = &[2]int64{}
	}
	f.steps[step][0]++
	if late {
		f.steps[step][1]++
	}
}

// step is how many orders of a step of stairs were followed, and how many were late.
func (f *follower) step(i int) (followed, late int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.steps[i]; n != nil {
		return n[0], n[1]
	}
	return 0, 0
}

// maxPromises bounds how many orders are asked for in the end: 160 MB of ids.
const maxPromises = 20_000_000

// promises are the orders that were answered with 201, each once.
type promises struct {
	mu      sync.Mutex
	numbers []int64 // of ids as commande makes them
	others  []string
	beyond  int64 // for which there was no room
}

func (p *promises) add(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.numbers)+len(p.others) == maxPromises {
		p.beyond++
		return
	}
	if n, ok := banking.GivenNumber(id); ok {
		p.numbers = append(p.numbers, n)
	} else {
		p.others = append(p.others, id)
	}
}

// once sorts the orders and drops those that were answered more than once. It
// returns how many there are, and each by its place.
func (p *promises) once() (n int, id func(i int) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.numbers)
	p.numbers = slices.Compact(p.numbers)
	slices.Sort(p.others)
	p.others = slices.Compact(p.others)
	return len(p.numbers) + len(p.others), func(i int) string {
		if i < len(p.numbers) {
			return banking.OrderID(p.numbers[i])
		}
		return p.others[i-len(p.numbers)]
	}
}

// Promised is what became of every order that was answered with 201, as suivi says in
// the end.
type Promised struct {
	Asked        int64 `json:"asked"`
	Authorized   int64 `json:"authorized"`
	Rejected     int64 `json:"rejected"`
	DeadLettered int64 `json:"deadLettered"`
	// Undecided are those that suivi shows, and that were neither decided nor set
	// aside; Missing those that it does not know. Unknown are those of which it did
	// not say, and those that were too many to remember.
	Undecided int64    `json:"undecided"`
	Missing   int64    `json:"missing"`
	Unknown   int64    `json:"unknown"`
	Examples  []string `json:"examples"` // of the three, a few
}

// maxExamples bounds how many orders are named.
const maxExamples = 10

// keep asks suivi for every promised order, again and again for those that are not
// settled, until all are or nothing has changed for the patience.
func keep(ctx context.Context, cfg *Config, client *http.Client, kept *promises, progress func(done, total int)) Promised {
	n, id := kept.once()
	p := Promised{Asked: int64(n), Examples: []string{}}
	if kept.beyond > 0 {
		p.Unknown = kept.beyond
	}
	open := make([]int32, n)
	for i := range open {
		open[i] = int32(i) // at most maxPromises
	}
	var why []fate
	changed := time.Now()
	for {
		before := len(open)
		open, why = round(ctx, cfg, client, open, id, &p, func(done int) { progress(n-before+done, n) })
		if len(open) < before {
			changed = time.Now()
		}
		if len(open) == 0 || time.Since(changed) >= cfg.Patience || lifecycle.Sleep(ctx, roundPause) != nil {
			break
		}
	}
	for i, at := range open {
		*why[i].counter(&p)++
		if len(p.Examples) < maxExamples {
			p.Examples = append(p.Examples, id(int(at)))
		}
	}
	return p
}

// fate is what became of one order.
type fate int

const (
	authorized fate = iota
	rejected
	deadLettered
	undecided
	missing
	unknown
)

func (f fate) counter(p *Promised) *int64 {
	return [...]*int64{&p.Authorized, &p.Rejected, &p.DeadLettered, &p.Undecided, &p.Missing, &p.Unknown}[f]
}

// round asks once for each order, counts those that are settled, and returns the
// others with why they are not.
func round(ctx context.Context, cfg *Config, client *http.Client, open []int32, id func(int) string, p *Promised, progress func(done int)) (left []int32, why []fate) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(askers)
	done := 0
	for turn, at := range open {
		group.Go(func() error {
			f := ask(ctx, cfg, client, id(int(at)), turn)
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done)
			if f < undecided {
				*f.counter(p)++
				return nil
			}
			left, why = append(left, at), append(why, f)
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return left, why
}

func ask(ctx context.Context, cfg *Config, client *http.Client, id string, turn int) fate {
	if len(cfg.Suivi) == 0 || ctx.Err() != nil {
		return unknown
	}
	v, ok, err := look(ctx, cfg, client, id, turn)
	switch {
	case err != nil:
		return unknown
	case !ok:
		return missing
	}
	fates := map[banking.OrderStatus]fate{
		banking.OrderStatusAuthorized: authorized, banking.OrderStatusRejected: rejected, banking.OrderStatusFailed: deadLettered,
	}
	if f, known := fates[v.Status]; known {
		return f
	}
	return undecided
}
