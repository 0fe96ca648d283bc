package sentinelle

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/probe"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/service"
)

// Probe says how the bank is probed.
type Probe struct {
	// Interval is how often each partition is probed; 0 for never.
	Interval time.Duration
	// Token is commande's credential for probes; TokenFile names a file with it, which is read
	// again when it changes. With neither nothing is probed.
	Token     secret.Value
	TokenFile string
}

// startProbe probes the bank in the background, where there is one that takes and shows orders and
// a token for it; nil where there is not.
func startProbe(b *service.Base, cfg Config, asked *peers, cluster cluster) (*probe.Prober, error) {
	token, err := b.OpenToken("the token for probes", cfg.Probe.Token, cfg.Probe.TokenFile)
	if err != nil {
		return nil, err
	}
	to, takes := peer(cfg.Around, taker)
	_, shows := peer(cfg.Around, shower)
	if cfg.Probe.Interval <= 0 || !takes || !shows || !token().Present() {
		return nil, nil //nolint:nilnil // there is none
	}
	prober, err := probe.New(probe.Config{
		Interval: cfg.Probe.Interval, Bank: probed{asked, cfg.Around, to.URL, token}, Telemetry: b.Telemetry, Log: b.Log,
		Credential: func() any { return token() },
		Partitions: func() int { return partitions(cluster, banking.TopicOrdersCreated) },
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
