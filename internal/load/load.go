// Package load sends a bank the load of many independent users and says, with a
// verdict, whether it kept its promises meanwhile and afterwards.
//
// Requests begin when their time has come, whether or not earlier ones have been
// answered, and their latency counts from that time: a service that hangs for a
// second makes everybody wait who came within that second, and the figures show it.
// Load generators that wait for answers leave those out (coordinated omission).
//
//   - curve.go says how many requests begin when; mix.go what they are, by a seed;
//     scenario.go reads a load from a file.
//   - load.go runs it all: send.go sends, record.go counts, follow.go follows a sample
//     of the orders and asks in the end for each that was promised, watch.go reads
//     the services' pages and looks at this process and this machine.
//   - report.go is what came out, verdict.go what that is worth; text.go, html.go and
//     report.html write it for people, compare.go compares two.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
)

// The defaults of a [Config].
const (
	DefaultInFlight = 512
	DefaultTimeout  = 10 * time.Second
	DefaultPatience = 30 * time.Second
	DefaultUsers    = 1000

	// MaxTimeout is how long a request may take at most.
	MaxTimeout = longest
)

// Objectives are what a load is held to: those of monitoring/slo.
type Objectives struct {
	Available float64       // share of good orders that are answered with 201
	Fast      float64       // share of them that are within Latency
	Latency   time.Duration // from when the order was due to its answer
	InTime    float64       // share of followed orders that are within Visible
	Visible   time.Duration // from the answer to decided and visible in suivi
	Growth    float64       // how many times the memory and the goroutines of before may stay
}

// DefaultObjectives are 99.9 % available, 99 % under 500 ms, 99 % decided and visible
// within 5 s, and half as much memory and goroutines again.
func DefaultObjectives() Objectives {
	return Objectives{Available: .999, Fast: .99, Latency: 500 * time.Millisecond, InTime: .99, Visible: 5 * time.Second, Growth: 1.5}
}

// Audited is what an audit said of the bank.
type Audited struct {
	Clean  bool   `json:"clean"`
	Detail string `json:"detail"`
}

// Config says what to send, whereto, and what is expected.
type Config struct {
	Name    string // of the scenario, or the shape
	Curve   Curve
	Poisson bool          // distances as of independent users; else as even as can be
	Step    time.Duration // of [Stairs], whose knee is looked for; 0 for another curve
	Mix     Mix
	Seed    uint64
	Users   int

	// Commande, Suivi and Analyseur are asked in turn, each of its targets. Without
	// one of suivi nothing is known of what became of orders.
	Commande, Suivi, Analyseur []Target
	// Pages are the services' pages of metrics.
	Pages []Page
	// Transport is how requests are sent. Its idle connections are closed where it
	// can do that.
	Transport http.RoundTripper
	InFlight  int           // how many requests may be under way
	Timeout   time.Duration // of each
	// Patience is how long nothing may change while something is waited for in the
	// end: orders that are not decided, memory that has not come back.
	Patience time.Duration

	Objectives Objectives
	// Faults are what breaks meanwhile; Break breaks it.
	Faults []Fault
	Break  func(context.Context, Fault) error
	// Audit audits the bank afterwards; nil leaves that out.
	Audit func(context.Context) (Audited, error)
	// Words puts an error in words for people.
	Words func(error) string
	// Progress is told what is done, of how much, while it goes on, a few times a
	// second at most; it does not block.
	Progress func(Progress)
}

// Fault is something that breaks at a time from the start, for some time.
type Fault struct {
	Name string        `yaml:"name"`
	At   time.Duration `yaml:"at"`
	For  time.Duration `yaml:"for"`
}

// Progress is how far a run is.
type Progress struct {
	Stage       string // what is done
	Done, Total int64
	Text        string // live figures
}

// ErrConfig: a configuration that no load can be made of.
var ErrConfig = errors.New("bad load")

// check fills in defaults.
func (c *Config) check() error {
	if err := c.Curve.Check(); err != nil {
		return err
	}
	if c.Mix == nil {
		c.Mix = DefaultMix()
	}
	if err := c.Mix.Check(); err != nil {
		return err
	}
	for kind, all := range map[Kind][]Target{Order: c.Commande, Keyed: c.Commande, Repeat: c.Commande, Wrong: c.Commande, Status: c.Suivi, List: c.Suivi, Statistics: c.Analyseur} {
		if c.Mix[kind] > 0 && len(all) == 0 {
			return fmt.Errorf("%w: there are %s requests, and nowhere to send them", ErrConfig, kind)
		}
	}
	if c.InFlight < 1 || c.Timeout <= 0 || c.Patience < 0 || c.Users < 1 {
		return fmt.Errorf("%w: want a request under way, a user, and times above 0", ErrConfig)
	}
	if c.Timeout > MaxTimeout {
		return fmt.Errorf("%w: a request may take %v at most", ErrConfig, MaxTimeout)
	}
	return nil
}

// Run sends the load, waits for what follows from it, and reports. The end of ctx
// ends the sending; what was promised until then is still asked for, and the report
// says that it was interrupted. An error is a configuration's: what the bank does
// wrong stands in the report.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.check(); err != nil {
		return Report{}, err
	}
	client := &http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a load goes nowhere else
	}
	r := &run{
		cfg: &cfg, client: client, seen: newRecord(&cfg), kept: &promises{}, follow: newFollower(&cfg, client), watch: newWatcher(&cfg, client),
	}
	r.watch.rest(ctx)
	r.send(ctx)
	return r.finish(ctx), nil
}

// run is one run.
type run struct {
	cfg    *Config
	client *http.Client
	seen   *record
	kept   *promises
	follow *follower
	watch  *watcher

	started time.Time
	broken  []Broken      // what was broken, in the order of time
	sent    time.Duration // how long requests began
	whole   bool          // the schedule was sent to its end, or to the knee
}

// send sends everything, and returns once all requests are answered and no order is
// followed any more.
func (r *run) send(ctx context.Context) {
	var random *rand.Rand
	if r.cfg.Poisson {
		random = rand.New(rand.NewPCG(r.cfg.Seed, 0x706f6973736f6e)) //nolint:gosec // a load
	}
	r.started = time.Now()
	r.watch.start = r.started
	s := newSender(r.cfg, r.client, r.seen, r.follow, r.kept, strconv.FormatInt(r.started.UnixNano(), 36))
	s.start = r.started
	// The watchers go on until all is answered, also after an interruption.
	watching, end := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	watchers.Go(func() { r.watch.run(watching, r.seen.every) })
	watchers.Go(func() { r.show(watching) })
	watchers.Go(func() { r.breakThings(watching) })
	ended := s.run(ctx, r.cfg.Curve.Schedule(random), r.seen.beyondKnee(r.follow))
	r.whole = ctx.Err() == nil
	r.sent = min(time.Since(r.started), r.cfg.Curve.Length())
	if ended {
		r.sent = r.cfg.Curve.Length() // the last request is due a little before
	}
	r.follow.all.Wait()
	end()
	watchers.Wait()
	r.watch.look(context.WithoutCancel(ctx))
}

// breakThings breaks what is to be broken, when its time has come.
func (r *run) breakThings(ctx context.Context) {
	todo := slices.SortedFunc(slices.Values(r.cfg.Faults), func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for _, f := range todo {
		if lifecycle.Sleep(ctx, time.Until(r.started.Add(f.At))) != nil {
			return
		}
		b := Broken{Name: f.Name, At: f.At.Seconds(), For: f.For.Seconds()}
		if err := r.cfg.Break(ctx, f); err != nil {
			b.Problem = r.cfg.words(err)
		}
		r.broken = append(r.broken, b)
	}
}

// finish asks what became of everything, and reports.
func (r *run) finish(ctx context.Context) Report {
	ctx = context.WithoutCancel(ctx) // what was promised is asked for in any case
	report := r.report()
	report.Promised = keep(ctx, r.cfg, r.client, r.kept, func(done, total int) {
		r.progress(Progress{Stage: "asking for every order", Done: int64(done), Total: int64(total)})
	})
	if r.cfg.Audit != nil {
		audited, err := r.cfg.Audit(ctx)
		if err != nil {
			audited = Audited{Detail: "it could not be done: " + r.cfg.words(err)}
		}
		report.Audit = &audited
	}
	report.Processes = r.watch.processes(r.comeBack(ctx))
	report.Seconds = time.Since(r.started).Seconds()
	report.judge(r.cfg)
	return report
}

// comeBack waits until memory and goroutines are what they were, within what is
// allowed, or the patience ends, and returns what they are then.
func (r *run) comeBack(ctx context.Context) map[Page]figures {
	if idle, ok := r.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections() // each holds goroutines of a service
	}
	began := time.Now()
	for {
		now := r.watch.all(ctx)
		back := true
		for page, before := range r.watch.before {
			f, ok := now[page]
			back = back && ok && f.heap <= heapAllowed(before.heap, r.cfg.Objectives) && f.goroutines <= goroutinesAllowed(before.goroutines, r.cfg.Objectives)
		}
		past := time.Since(began)
		if back || past >= r.cfg.Patience {
			return now
		}
		r.progress(Progress{Stage: "waiting for memory to come back", Done: int64(past / time.Second), Total: int64(r.cfg.Patience / time.Second)})
		if lifecycle.Sleep(ctx, time.Second) != nil {
			return now
		}
	}
}

// show tells how far the sending is until ctx ends.
func (r *run) show(ctx context.Context) {
	if r.cfg.Progress == nil {
		return
	}
	_ = lifecycle.Every(ctx, 500*time.Millisecond, func(context.Context) error {
		r.progress(r.seen.live(r.cfg.Curve, time.Since(r.started)))
		return nil
	})
}

func (r *run) progress(p Progress) {
	if r.cfg.Progress != nil {
		r.cfg.Progress(p)
	}
}

// words is what an error says to people.
func (c *Config) words(err error) string {
	var failed *url.Error
	if errors.As(err, &failed) { // the address has an order's id in it
		err = failed.Err
	}
	if c.Words == nil {
		return err.Error()
	}
	return c.Words(err)
}
