package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cenkalti/backoff/v5"
)

// ErrUnreachable: no broker answered in time.
var ErrUnreachable = errors.New("no Kafka broker answers")

// Connect waits for the cluster to answer, at most for patience, and returns
// a client for administration: topics, offsets, health. Brokers that answer
// and refuse us are not asked again: [ErrTLS], [ErrSASL].
func Connect(ctx context.Context, cfg Config, patience time.Duration) (sarama.Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, err := backoff.Retry(ctx, func() (sarama.Client, error) {
		client, err := cfg.dial(cfg.control())
		if err == nil {
			return client, nil
		}
		if reason := cfg.refusal(); reason != nil {
			return nil, backoff.Permanent(reason)
		}
		return nil, err
	}, backoff.WithMaxElapsedTime(patience), backoff.WithBackOff(startBackoff()))
	if errors.Is(err, ErrTLS) || errors.Is(err, ErrSASL) {
		return nil, err
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w (it ends the connection, as one does that wants other TLS or SASL settings)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, strings.Join(cfg.Brokers, ","), err)
	}
	return client, nil
}

// startBackoff is quick at first: a broker that starts beside us is usually
// a moment away.
func startBackoff() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 50 * time.Millisecond
	b.MaxInterval = time.Second
	return b
}

// metadata asks a broker about the topics (all that it takes to see that the
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
		// A connection that failed is not mended by sarama's broker; closed,
		// it is opened anew by the next call.
		_ = broker.Close()
		return nil, fmt.Errorf("ask broker %s: %w", broker.Addr(), err)
	}
	return response, nil
}

// Identities returns what tells this cluster and these topics from others of
// the same names: the cluster's id under "cluster", each topic's id under
// "topic NAME". Ids that a broker does not give are left out.
func Identities(client sarama.Client, topics []string) (map[string]string, error) {
	response, err := metadata(client, topics)
	if err != nil {
		return nil, fmt.Errorf("identify cluster: %w", err)
	}
	ids := map[string]string{}
	if response.ClusterID != nil && *response.ClusterID != "" {
		ids["cluster"] = *response.ClusterID
	}
	for _, t := range response.Topics {
		if t.Err == sarama.ErrNoError && t.Uuid != (sarama.Uuid{}) {
			ids["topic "+t.Name] = t.Uuid.String()
		}
	}
	return ids, nil
}
