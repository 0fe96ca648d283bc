package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// metadata queries a broker about the topics (all that it takes to see that the
// cluster answers, where there are none).
func metadata(client sarama.Client, topics []string) (*sarama.MetadataResponse, error) {
	broker := client.LeastLoadedBroker()
	if broker == nil {
		return nil, ErrUnreachable
	}
	if err := broker.Open(client.Config()); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
		return nil, fmt.Errorf("open broker %s: %w", broker.Addr(), err)
	}
	request := sarama.NewMetadataRequest(client.Config().Version, topics)
	response, err := broker.GetMetadata(request)
	if err != nil {
		// sarama's broker does not repair a connection that failed; closed,
		// it is opened again by the next call.
		_ = broker.Close()
		return nil, fmt.Errorf("query broker %s: %w", broker.Addr(), err)
	}
	return response, nil
}

// Identities returns what distinguishes this cluster and these topics from
// others of the same names: the cluster's id under "cluster", each topic's id
// under "topic NAME". Ids that a broker does not give are left out.
func Identities(ctx context.Context, client *Client, topics []string) (ids map[string]string, err error) {
	err = client.cfg.patiently(ctx, func() error {
		response, err := metadata(client, topics)
		if err == nil {
			ids = identities(response)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("identify cluster: %w", err)
	}
	return ids, nil
}

func identities(response *sarama.MetadataResponse) map[string]string {
	ids := map[string]string{}
	if response.ClusterID != nil && *response.ClusterID != "" {
		ids["cluster"] = *response.ClusterID
	}
	for _, t := range response.Topics {
		if t.Err == sarama.ErrNoError && t.Uuid != (sarama.Uuid{}) {
			ids["topic "+t.Name] = t.Uuid.String()
		}
	}
	return ids
}

// Health knows whether the cluster answers, by a request on a timer: a check
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

// Run checks until ctx ends.
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
