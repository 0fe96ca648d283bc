//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/lifecycle"
)

const (
	stormTime = 10 * time.Second
	// maxHeld is the longest that an intruder keeps partitions.
	maxHeld = 1500 * time.Millisecond
)

// storm has a second member join each group and leave it again and again. It
// takes partitions and does nothing with them.
func storm(ctx context.Context, r *round) error {
	ctx, cancel := context.WithTimeout(ctx, stormTime)
	defer cancel()
	var group errgroup.Group
	for name, topics := range map[string][]string{
		banking.GroupPaiement:  {banking.TopicOrdersCreated},
		banking.GroupSuivi:     {banking.TopicOrdersCreated, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected, banking.TopicOrdersDLQ},
		banking.GroupAnalyseur: {banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected},
	} {
		random := rand.New(rand.NewPCG(r.random.Uint64(), 0)) //nolint:gosec // repeatable on purpose
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := intrude(ctx, r.broker.Address(), name, topics, time.Duration(random.Int64N(int64(maxHeld)))); err != nil {
					return err
				}
				_ = lifecycle.Sleep(ctx, time.Duration(random.Int64N(int64(maxHeld))))
			}
			return nil
		})
	}
	return group.Wait()
}

// intrude joins a group, holds what it is given, and leaves.
func intrude(ctx context.Context, address, name string, topics []string, hold time.Duration) (err error) {
	cfg := clientConfig()
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	cfg.Consumer.Group.Session.Timeout = sessionTimeout
	cfg.Consumer.Group.Heartbeat.Interval = sessionTimeout / 6
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	group, err := sarama.NewConsumerGroup([]string{address}, name, cfg)
	if err != nil {
		return fmt.Errorf("join %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, group.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = group.Consume(ctx, topics, &intruder{hold: hold, leave: cancel})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold partitions of %s: %w", name, err)
	}
	return nil
}

// intruder holds its partitions for a time and leaves.
type intruder struct {
	hold  time.Duration
	leave func()
}

// Setup implements sarama.ConsumerGroupHandler.
func (i *intruder) Setup(session sarama.ConsumerGroupSession) error {
	_ = lifecycle.Sleep(session.Context(), i.hold)
	i.leave()
	return nil
}

// Cleanup implements sarama.ConsumerGroupHandler.
func (*intruder) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim implements sarama.ConsumerGroupHandler.
func (*intruder) ConsumeClaim(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-session.Context().Done()
	return nil
}
