package kafka_test

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// flaky makes connections of which one breaks, in place of the request of that
// number. sarama writes a request at a time.
type flaky struct {
	requests atomic.Int64
	breaks   int64
}

func (f *flaky) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return &flakyConn{c, f}, err
}

type flakyConn struct {
	net.Conn
	of *flaky
}

func (c *flakyConn) Write(b []byte) (int, error) {
	if c.of.requests.Add(1) == c.of.breaks {
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return c.Conn.Write(b)
}

// start does what a service's start asks of Kafka.
func start(t *testing.T, cfg kafka.Config) error {
	ctx := t.Context()
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = client.Close() }()
	if _, err := kafka.EnsureTopics(ctx, client, banking.Topics()); err != nil {
		return err
	}
	if _, err := kafka.CheckTopics(ctx, client, banking.Topics()); err != nil {
		return err
	}
	if _, err := kafka.Identities(ctx, client, []string{banking.TopicOrdersCreated}); err != nil {
		return err
	}
	spans, err := kafka.Bounds(ctx, client, banking.TopicOrdersCreated)
	if err != nil {
		return err
	}
	read := 0
	if err := kafka.Scan(ctx, cfg, spans[:1], func(record.Record) error { read++; return nil }); err != nil || read != 3 {
		return fmt.Errorf("%d records read: %w", read, err)
	}
	publisher, err := kafka.NewPublisher(ctx, cfg, banking.TopicOrdersDLQ)
	if err != nil {
		return err
	}
	consumer, err := cfg.ConnectConsumer(ctx)
	if err != nil {
		return errors.Join(err, publisher.Close())
	}
	return errors.Join(publisher.Close(), consumer.Close())
}

// Whichever request of a start a connection breaks at, the start goes on.
func TestOneBrokenConnectionEndsNoStart(t *testing.T) {
	cfg, _ := testkafka.Embedded(t)
	testkafka.Begin(t, cfg, on(0, "a"), on(0, "b"), on(0, "c")).Commit()
	for n := int64(1); ; n++ {
		f := &flaky{breaks: n}
		cfg.Dialer = f
		if err := start(t, cfg); err != nil {
			t.Errorf("broken at request %d: %v", n, err)
		}
		if f.requests.Load() < n {
			if n < 15 {
				t.Errorf("a start has %d requests", n-1)
			}
			return
		}
	}
}

var _ sarama.Client = (*kafka.Client)(nil)
