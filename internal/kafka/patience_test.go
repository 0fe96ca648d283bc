package kafka_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// flaky makes connections of which one fails at the request of that number: it breaks in
// place of the request, or the answer comes when its reader has waited long enough. sarama
// writes a request at a time.
type flaky struct {
	requests atomic.Int64
	fails    int64
	late     bool
}

func (f *flaky) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return &flakyConn{Conn: c, of: f}, err
}

type flakyConn struct {
	net.Conn
	of   *flaky
	late atomic.Bool
}

func (c *flakyConn) Write(b []byte) (int, error) {
	if c.of.requests.Add(1) == c.of.fails {
		if !c.of.late {
			return 0, errors.Join(net.ErrClosed, c.Close())
		}
		c.late.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *flakyConn) Read(b []byte) (int, error) {
	if c.late.CompareAndSwap(true, false) {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(b)
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

// Whichever request of a start a connection fails at, the start goes on.
func TestOneFailedConnectionEndsNoStart(t *testing.T) {
	for name, late := range map[string]bool{"broken": false, "out of time": true} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := testkafka.Embedded(t)
			testkafka.Begin(t, cfg, on(0, "a"), on(0, "b"), on(0, "c")).Commit()
			for n := int64(1); ; n++ {
				f := &flaky{fails: n, late: late}
				cfg.Dialer = f
				if err := start(t, cfg); err != nil {
					t.Errorf("at request %d: %v", n, err)
				}
				if f.requests.Load() < n {
					if n < 15 {
						t.Errorf("a start has %d requests", n-1)
					}
					return
				}
			}
		})
	}
}

var _ sarama.Client = (*kafka.Client)(nil)
