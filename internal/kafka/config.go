// Package kafka is how the services meet Kafka: connections set up for
// exactly-once effects, the topics, publishing, and the one loop by which a
// consumer turns records into stored state and further records without losing
// or repeating any.
package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

// Config says which cluster to use.
type Config struct {
	// Brokers are the bootstrap addresses, host:port.
	Brokers []string
	// ClientID names this program to the brokers.
	ClientID string
	// SessionTimeout is how long a consumer may be silent before Kafka gives
	// its partitions away; 0 is [DefaultSessionTimeout]. Brokers bound it.
	SessionTimeout time.Duration
	// Security says how connections are protected, and as whom they sign in.
	Security Security
}

// DefaultSessionTimeout is the session timeout of consumers, sarama's own.
const DefaultSessionTimeout = 10 * time.Second

// heartbeats is how many of them fit into a session: one may be lost.
const heartbeats = 3

const (
	dialTimeout = 3 * time.Second
	netTimeout  = 10 * time.Second
	// controlTimeout bounds a request for metadata or offsets.
	controlTimeout = 3 * time.Second
	// claimBuffer holds records fetched ahead, so that a batch can be filled.
	claimBuffer = 1024
	// commitInterval is how far the group's offset in Kafka, which nobody
	// here relies on, may trail the position in storage.
	commitInterval = 500 * time.Millisecond
)

// ErrAddress: a broker's address is not host:port.
var ErrAddress = errors.New("bad broker address")

// Validate answers [ErrAddress] where no broker could be found by the
// addresses as they stand, and [ErrTLS] or [ErrSASL] where connections cannot
// be protected as they should.
func (c Config) Validate() error {
	if len(c.Brokers) == 0 {
		return fmt.Errorf("%w: there is none", ErrAddress)
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			return fmt.Errorf("%w: %q is not host:port", ErrAddress, b)
		}
	}
	return c.Security.Validate()
}

// dial connects a client in the role that its configuration gives it.
func (c Config) dial(role *sarama.Config) (sarama.Client, error) {
	if err := c.Security.apply(role); err != nil {
		return nil, err
	}
	return sarama.NewClient(c.Brokers, role)
}

// ConnectConsumer connects a client for reading. The caller closes it.
func (c Config) ConnectConsumer() (sarama.Client, error) { return c.dial(c.consumer()) }

// base is what every connection has in common.
func (c Config) base() *sarama.Config {
	sc := sarama.NewConfig()
	sc.ClientID = c.ClientID
	sc.Net.DialTimeout = dialTimeout
	sc.Net.ReadTimeout = netTimeout
	sc.Net.WriteTimeout = netTimeout
	sc.Metadata.Retry.Max = 3
	sc.MetricRegistry = metrics.NewRegistry()
	return sc
}

// control gives up soon: whoever asks for offsets or health asks again.
func (c Config) control() *sarama.Config {
	sc := c.base()
	sc.Net.ReadTimeout = controlTimeout
	sc.Net.WriteTimeout = controlTimeout
	sc.Metadata.Retry.Max = 0
	return sc
}

// producer is idempotent and waits for all in-sync replicas: a record that
// was acknowledged is in the log once, whatever was sent again meanwhile.
func (c Config) producer() *sarama.Config {
	sc := c.base()
	sc.Producer.Idempotent = true
	sc.Producer.RequiredAcks = sarama.WaitForAll
	sc.Net.MaxOpenRequests = 1
	sc.Producer.Retry.Max = 5
	sc.Producer.Retry.Backoff = 100 * time.Millisecond
	sc.Producer.Timeout = netTimeout
	sc.Producer.Return.Successes = true
	sc.Producer.Return.Errors = true
	sc.Producer.MaxMessageBytes = MaxRecordBytes
	return sc
}

// consumer balances eagerly, so that every assignment passes through Setup,
// where reading is set to storage's position.
func (c Config) consumer() *sarama.Config {
	sc := c.base()
	sc.Consumer.Offsets.Initial = sarama.OffsetOldest
	sc.Consumer.Offsets.AutoCommit.Interval = commitInterval
	sc.Consumer.Group.ResetInvalidOffsets = false // never skip records silently
	sc.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	sc.Consumer.Group.Session.Timeout = cmp.Or(c.SessionTimeout, DefaultSessionTimeout)
	sc.Consumer.Group.Heartbeat.Interval = sc.Consumer.Group.Session.Timeout / heartbeats
	sc.Consumer.Return.Errors = true
	sc.ChannelBufferSize = claimBuffer
	return sc
}
