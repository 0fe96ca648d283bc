// Package groups watches the consumer groups of any Kafka cluster from outside: it
// asks the brokers, needs nothing of the groups' members, and works for those that
// are dead. It looks in rounds, in the background; what a round saw stands until
// the next one, and what it could not see is unknown and never an old value.
//
//   - groups.go has the settings, and the collector that makes rounds.
//   - round.go is what a round saw.
//   - survey.go has the steps of a round, in order, and joins what they brought: how far
//     each group is, case by case.
//   - ask.go asks brokers, each with a time-out of its own, and counts.
//   - logs.go asks for brokers, topics, and where logs start and end; retention.go
//     for how long topics keep records.
//   - members.go asks for groups, their members and committed offsets.
//   - ages.go finds the first record that a group has not processed.
//   - metrics.go shows a round, and what the collector says of itself.
package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/verdicts"
)

// Defaults of [Config].
const (
	DefaultInterval = 10 * time.Second
	DefaultTimeout  = 3 * time.Second
)

// Filter chooses names. The zero value takes all.
type Filter struct {
	// Include and Exclude match anywhere in a name; nil is no condition.
	Include, Exclude *regexp.Regexp
}

// Takes says whether a name is chosen.
func (f Filter) Takes(name string) bool {
	return (f.Include == nil || f.Include.MatchString(name)) && (f.Exclude == nil || !f.Exclude.MatchString(name))
}

// Limits bound what a round holds and asks. What is beyond them is left out and
// counted.
type Limits struct {
	// Partitions bounds the partitions of topics. Topics beyond it, in the order
	// of their names, are left out.
	Partitions int
	// Readings bounds the partitions that groups read, each group's counted for
	// itself. Groups beyond it, in the order of their names, are listed only.
	Readings int
	// Ages bounds the partitions of which records are fetched in a round.
	Ages int
}

// DefaultLimits are for clusters of some ten thousand partitions.
func DefaultLimits() Limits { return Limits{Partitions: 50_000, Readings: 50_000, Ages: 1_000} }

// Config says what to watch.
type Config struct {
	// Kafka says which cluster.
	Kafka kafka.Config
	// Interval is the time from the start of one round to that of the next; 0 is
	// [DefaultInterval].
	Interval time.Duration
	// Timeout bounds each request to a broker; 0 is [DefaultTimeout]. A broker that
	// does not answer within it is asked no more in that round.
	Timeout time.Duration
	// Groups and Topics choose what is watched.
	Groups, Topics Filter
	// ReadUncommitted names the groups that do not wait for transactions, which
	// nobody can see from outside; nil is none.
	ReadUncommitted *regexp.Regexp
	// Limits are [DefaultLimits] where they are zero.
	Limits Limits
	// Rules are those of the verdicts; the zero value is [verdicts.DefaultRules].
	Rules verdicts.Rules
	// Log is told what begins and what ends to be wrong; nil for nobody.
	Log *slog.Logger
	// Now is the clock; nil for the system's.
	Now func() time.Time
}

// ErrInterval: rounds would overlap or never end.
var ErrInterval = errors.New("the interval is not positive")

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.Rules == (verdicts.Rules{}) {
		c.Rules = verdicts.DefaultRules()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Collector makes rounds over a cluster. [Collector.Run] makes them, or
// [Collector.Look] one, but not both at a time; everything else may be called
// whenever it is.
type Collector struct {
	cfg    Config
	client *kgo.Client
	memory memory

	decompressor kgo.Decompressor

	counts counts
	latest atomic.Pointer[Round]
	seen   atomic.Pointer[time.Time] // when a round last got an answer
}

// New makes a collector. It connects with the first round, so the cluster may be
// away. The caller closes it.
func New(cfg Config) (*Collector, error) {
	cfg = cfg.withDefaults()
	if cfg.Interval < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("watch groups: %w", ErrInterval)
	}
	options, err := cfg.Kafka.FranzOptions(cfg.Timeout)
	if err != nil {
		return nil, fmt.Errorf("watch groups: %w", err)
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(offsetFetchKey, offsetFetchNames)
	client, err := kgo.NewClient(append(options, kgo.MaxVersions(versions), kgo.RequestRetries(1), kgo.MaxDecompressBatchBytes(record.MaxDecompressed),
		kgo.RetryBackoffFn(func(int) time.Duration { return retryPause }))...)
	if err != nil {
		return nil, fmt.Errorf("watch groups: %w", err)
	}
	decompressor, _ := client.OptValue(kgo.WithDecompressor).(kgo.Decompressor) // it has one
	return &Collector{cfg: cfg, client: client, memory: newMemory(), decompressor: decompressor}, nil
}

// Close ends the connections.
func (c *Collector) Close() { c.client.Close() }

// Latest returns what the last round saw, nil before the first. Nobody changes it.
func (c *Collector) Latest() *Round { return c.latest.Load() }

// Run makes rounds until ctx ends, the first at once. A cluster that is away is no
// error: the rounds say so.
func (c *Collector) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		started := time.Now()
		c.Look(ctx)
		timer.Reset(max(c.cfg.Interval-time.Since(started), c.cfg.Interval/4))
	}
}

// Look makes one round and returns what it saw, which is also the latest, unless
// ctx ended meanwhile.
func (c *Collector) Look(ctx context.Context) *Round {
	before := c.Latest()
	r := c.survey(ctx)
	if ctx.Err() != nil {
		return r
	}
	c.latest.Store(r)
	if r.Answering() > 0 {
		c.seen.Store(&r.At)
	}
	c.counts.add(ctx, r)
	c.tell(ctx, before, r)
	return r
}

// tell logs what has begun or ended to be wrong since the round before.
func (c *Collector) tell(ctx context.Context, before, now *Round) {
	had, has := map[string]bool{}, map[string]bool{}
	if before != nil {
		for _, f := range before.Failures {
			had[f.key()] = true
		}
	}
	for _, f := range now.Failures {
		if key := f.key(); !had[key] && !has[key] {
			c.cfg.Log.WarnContext(ctx, "a part of the cluster cannot be seen", "broker", f.Broker, "request", f.Request, "kind", f.Kind, "error", f.Text)
		}
		has[f.key()] = true
	}
	if before != nil && len(before.Failures) > 0 && len(now.Failures) == 0 {
		c.cfg.Log.InfoContext(ctx, "all of the cluster can be seen again")
	}
}

// memory is what a collector keeps from round to round: bounded by what the rounds
// hold. It belongs to whoever makes them.
type memory struct {
	// coordinators are the brokers that last told of each group.
	coordinators map[string]*Group
	// tracks is what was seen of each reading.
	tracks map[verdicts.Place]*track
	// retention is what each topic keeps.
	retention map[string]kept
	ages      ages
	// said is what was said once and is not again.
	said map[string]bool
}

func newMemory() memory {
	return memory{
		coordinators: map[string]*Group{}, tracks: map[verdicts.Place]*track{}, retention: map[string]kept{}, said: map[string]bool{},
		ages: ages{found: map[spot]*sighting{}, ends: map[logKey]*history{}, forbidden: map[string]time.Time{}},
	}
}
