package crash

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/internal/banking"
	vigie "github.com/vigie-dev/vigie/internal/record"
)

// offsets are a position for each partition of each topic.
type offsets map[string]map[int32]int64

// clientConfig is sarama's default but for a registry of our own, which is
// the only one that stops.
func clientConfig() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.MetricRegistry = metrics.NewRegistry()
	cfg.Net.DialTimeout, cfg.Net.ReadTimeout = 3*time.Second, 10*time.Second
	return cfg
}

// connected runs work with a client of the broker.
func connected(address string, cfg *sarama.Config, work func(sarama.Client) error) (err error) {
	client, err := sarama.NewClient([]string{address}, cfg)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return work(client)
}

// ends returns where every topic's partitions end.
func ends(client sarama.Client) (offsets, error) {
	out := offsets{}
	for _, t := range banking.Topics() {
		out[t.Name] = map[int32]int64{}
		for p := range t.Partitions {
			end, err := client.GetOffset(t.Name, p, sarama.OffsetNewest)
			if err != nil {
				return nil, fmt.Errorf("end of %s/%d: %w", t.Name, p, err)
			}
			out[t.Name][p] = end
		}
	}
	return out, nil
}

// readTopics reads every topic from its start to its end.
func readTopics(ctx context.Context, address string) (map[string][]record, error) {
	out := map[string][]record{}
	err := connected(address, clientConfig(), func(client sarama.Client) (err error) {
		upTo, err := ends(client)
		if err != nil {
			return err
		}
		consumer, err := sarama.NewConsumerFromClient(client)
		if err != nil {
			return fmt.Errorf("make consumer: %w", err)
		}
		defer func() { err = errors.Join(err, consumer.Close()) }()
		for topic, parts := range upTo {
			for p, end := range parts {
				records, err := readPartition(ctx, consumer, topic, p, end)
				if err != nil {
					return err
				}
				out[topic] = append(out[topic], records...)
			}
		}
		return nil
	})
	return out, err
}

func readPartition(ctx context.Context, consumer sarama.Consumer, topic string, p int32, end int64) (out []record, err error) {
	if end == 0 {
		return nil, nil
	}
	part, err := consumer.ConsumePartition(topic, p, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s/%d: %w", topic, p, err)
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	for {
		select {
		case m := <-part.Messages():
			if m.Offset != int64(len(out)) {
				return out, fmt.Errorf("read %s/%d: offset %d where %d was due", topic, p, m.Offset, len(out))
			}
			out = append(out, newRecord(m))
			if m.Offset == end-1 {
				return out, nil
			}
		case <-ctx.Done():
			return out, fmt.Errorf("read %s/%d: %d of %d records: %w", topic, p, len(out), end, ctx.Err())
		}
	}
}

func newRecord(m *sarama.ConsumerMessage) record {
	r := record{position: vigie.At(m.Topic, m.Partition, m.Offset), Key: string(m.Key), Value: m.Value, Headers: map[string]string{}}
	for _, h := range m.Headers {
		if _, seen := r.Headers[string(h.Key)]; !seen {
			r.Headers[string(h.Key)] = string(h.Value)
		}
	}
	return r
}
