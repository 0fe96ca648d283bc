package sentinelle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/retry"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
)

// way is what is known of the way through the bank: the probes, and what became of
// the orders. Either may be missing.
type way struct {
	prober *probe.Prober                   // nil: nothing is probed
	orders atomic.Pointer[journeys.Ledger] // nil: they are not followed, or not yet
}

// WayThrough is the way through the bank as a page shows it and programs read it.
type WayThrough struct {
	// Probe is nil where nothing is probed, and Journeys where orders are not followed.
	Probe    *Probing         `json:"probe"`
	Journeys *journeys.Report `json:"journeys"`
}

// Probing is what came of the last probes.
type Probing struct {
	IntervalSeconds float64 `json:"intervalSeconds"`
	// Results are by partition; none before the first probe has ended.
	Results []probe.Result `json:"results"`
}

// look is what is known now.
func (w *way) look() WayThrough {
	var out WayThrough
	if w.prober != nil {
		out.Probe = &Probing{w.prober.Interval().Seconds(), orEmpty(w.prober.Latest())}
	}
	if ledger := w.orders.Load(); ledger != nil {
		report := ledger.Report()
		out.Journeys = &report
	}
	return out
}

// Bank says whether the cluster has the bank's topics, whose orders are to be followed.
type Bank string

// What can be said of it.
const (
	// BankAuto: there is one where the bank's services are known, or its topics are there.
	BankAuto Bank = "auto"
	BankOn   Bank = "on"
	BankOff  Bank = "off"
)

// bankInterval is how often it is looked whether the topics have appeared.
const bankInterval = 10 * time.Second

// Journeys are the settings of following orders.
type Journeys struct {
	// Bank says whether there are any.
	Bank Bank
	// Objective is the time within which an order is to be decided and visible.
	Objective time.Duration
}

// followJourneys follows the orders in the background, where there is a bank. Whatever fails in it
// is tried again: sentinelle goes on without. The prober, where there is one, is told of the
// decisions on its probes.
func followJourneys(b *service.Base, cfg Config, known *way) {
	if cfg.Journeys.Bank == BankOff || !b.Stores() {
		return
	}
	b.Stack.Go("journeys", func(ctx context.Context) error {
		failed := func(err error, delay time.Duration) {
			b.Log.WarnContext(ctx, "orders cannot be followed; trying again", "error", err, "delay", delay)
		}
		policy := retry.Policy{First: time.Second, Most: time.Minute, Waiting: failed}
		return whileRunning(ctx, policy.Do(ctx, func() error {
			if err := awaitBank(ctx, b, cfg); err != nil {
				return err
			}
			return keepLedger(ctx, b, cfg, known)
		}))
	})
}

// whileRunning is an error, unless there was a request to stop.
func whileRunning(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // a request to stop is no failure
	}
	return err
}

// awaitBank waits until there is a bank.
func awaitBank(ctx context.Context, b *service.Base, cfg Config) (err error) {
	if cfg.Journeys.Bank == BankOn || hasBank(cfg.Around) {
		return nil
	}
	client, err := kafka.Connect(ctx, b.Kafka)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	for {
		if err := client.RefreshMetadata(); err != nil {
			return fmt.Errorf("look for the bank's topics: %w", err)
		}
		missing, err := kafka.MissingTopics(client, banking.Topics())
		if err != nil {
			return fmt.Errorf("look for the bank's topics: %w", err)
		}
		if len(missing) == 0 {
			return nil
		}
		if err := lifecycle.Sleep(ctx, bankInterval); err != nil {
			return err
		}
	}
}

// keepLedger keeps the ledger of orders until ctx ends. What it has counted is exported also
// while Kafka is away.
func keepLedger(ctx context.Context, b *service.Base, cfg Config, known *way) (err error) {
	own, err := b.Join()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(ctx, own)) }()
	if err := own.OpenStore(ctx, journeys.Migrations()); err != nil {
		return err
	}
	following := journeys.Config{
		Objective: cfg.Journeys.Objective, Store: own.Store, Telemetry: own.Telemetry, Clocks: own.Clocks(), Log: own.Log,
	}
	if known.prober != nil {
		following.Probed = known.prober.Saw
	}
	ledger, err := journeys.Open(ctx, following)
	if err != nil {
		return err
	}
	known.orders.Store(ledger)
	own.Stack.OnStop("journeys", func(context.Context) error { known.orders.Store(nil); return ledger.Close() })
	if err := own.Prune(ledger.Forget); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := read(ctx, own, ledger); ctx.Err() == nil && err != nil {
			own.Log.WarnContext(ctx, "the bank's topics cannot be read; trying again", "error", err)
			_ = lifecycle.Sleep(ctx, bankInterval)
		}
	}
	return nil
}

// read reads the bank's topics and judges the orders, until ctx ends or something fails.
func read(ctx context.Context, own *service.Base, ledger *journeys.Ledger) (err error) {
	reader, err := own.Join()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop(ctx, reader)) }()
	if err := reader.Connect(ctx); err != nil {
		return err
	}
	if err := service.Consume(ctx, reader, delivery.LoopConfig{Concurrency: 1}, ledger.Handler()); err != nil {
		return err
	}
	reader.Stack.Go("judge", func(ctx context.Context) error { return ledger.Run(ctx, journeys.Cluster{Client: reader.Control}) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-reader.Stack.Failed():
		return err
	}
}

// stopTime bounds how long a part may take to stop.
const stopTime = 10 * time.Second

func stop(ctx context.Context, b *service.Base) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return b.Stack.Stop(ctx)
}

// Probe says how the bank is probed.
type Probe struct {
	// Interval is how often each partition is probed; 0 for never.
	Interval time.Duration
	// Token is commande's credential for probes; TokenFile names a file with it, which is waited
	// for where it is not there, and read again when it changes. With neither nothing is probed.
	Token     secret.Value
	TokenFile string
}

// startProbe probes the bank in the background, where there is one that takes and shows orders and
// a token for it; nil where there is not.
func startProbe(b *service.Base, cfg Config, asked *peers, cluster cluster) (*probe.Prober, error) {
	to, takes := peer(cfg.Around, taker)
	_, shows := peer(cfg.Around, shower)
	if cfg.Probe.Interval <= 0 || !takes || !shows || !cfg.Probe.Token.Present() && cfg.Probe.TokenFile == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	token, err := b.AwaitToken("the token for probes", cfg.Probe.Token, cfg.Probe.TokenFile)
	if err != nil {
		return nil, err
	}
	prober, err := probe.New(probe.Config{
		Interval: cfg.Probe.Interval, Bank: probed{asked, cfg.Around, to.URL, token}, Telemetry: b.Telemetry, Log: b.Log,
		Credential: func() any { return token() },
		Partitions: func() int {
			if !token().Present() {
				return 0
			}
			return partitions(cluster, banking.TopicOrdersCreated)
		},
	})
	if err != nil {
		return nil, err
	}
	b.Stack.OnStop("probe's metrics", func(context.Context) error { return prober.Close() })
	b.Stack.Go("probe", prober.Run)
	return prober, nil
}

// partitions is how many a topic was seen to have; before that, how many it is made with.
func partitions(cluster cluster, topic string) int {
	if seen := cluster.Latest(); seen != nil {
		for _, t := range seen.Topics {
			if t.Name == topic && len(t.Partitions) > 0 {
				return len(t.Partitions)
			}
		}
	}
	return banking.Partitions
}

// probed is the bank as a probe asks it. It leaves no traces: those of clients would be buried.
type probed struct {
	peers    *peers
	around   service.Surroundings
	commande string
	token    func() secret.Value
}

// Place implements [probe.Bank].
func (p probed) Place(ctx context.Context, partition int32) (string, error) {
	var answer struct{ OrderID string }
	err := p.peers.post(unsampled(ctx), p.commande+"/orders", rand.Text(), map[string]any{
		"userId": "probe", "amount": banking.Money(1), "items": []string{},
	}, &answer, map[string]string{
		banking.HeaderProbe: p.token().Reveal(), banking.HeaderProbePartition: strconv.Itoa(int(partition)),
	})
	return answer.OrderID, asProbe(err)
}

// Shown implements [probe.Bank].
func (p probed) Shown(ctx context.Context, orderID string) (banking.OrderStatus, error) {
	s, err := p.peers.story(unsampled(ctx), p.around, orderID)
	if errors.Is(err, errUnknownOrder) {
		return "", nil
	}
	return banking.OrderStatus(s.Status), asProbe(err)
}

// asProbe tells a probe what an error is to it. What may have been taken is no refusal.
func asProbe(err error) error {
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case ok && refused.status < http.StatusInternalServerError && refused.status != http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", probe.ErrRefused, err)
	case errors.Is(err, errAway):
		return fmt.Errorf("%w: %w", probe.ErrAway, err)
	default:
		return err
	}
}
