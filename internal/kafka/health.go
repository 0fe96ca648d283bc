package kafka

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// Health knows whether the cluster answers, by asking it on a timer: a check
// reads memory and never waits for a broker that is away.
type Health struct {
	client   sarama.Client
	interval time.Duration
	last     atomic.Pointer[error]
}

// NewHealth makes a Health for a client that has just answered.
func NewHealth(client sarama.Client, interval time.Duration) *Health {
	return &Health{client: client, interval: interval}
}

// Run asks until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	ticker := time.NewTicker(h.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			_, err := metadata(h.client, []string{})
			h.last.Store(&err)
		}
	}
}

// Check returns the last answer.
func (h *Health) Check(context.Context) error {
	if err := h.last.Load(); err != nil && *err != nil {
		return fmt.Errorf("broker does not answer: %w", *err)
	}
	return nil
}
