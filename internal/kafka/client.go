// Package kafka is how the services reach Kafka: connections, topics, and
// records published or read outside any group. It exists so that every
// connection has the settings that exactly-once effects depend on.
//
// client.go connects and watches whether the cluster answers; security.go has
// TLS and SASL; topics.go the topics and consumer groups; records.go
// publishes records and reads them outside any group.
package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/vigie-dev/vigie/internal/retry"
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
	// Security says how connections are protected, and as which user they
	// authenticate.
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

// Validate returns [ErrAddress] where no broker could be found by the
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

// control gives up soon: callers that need offsets or health try again.
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

// ErrUnreachable: no broker answered in time.
var ErrUnreachable = errors.New("no Kafka broker answers")

// Connect waits for the cluster to answer, at most for patience, and returns
// a client for administration: topics, offsets, health. Brokers that answer
// and refuse us are not tried again: [ErrTLS], [ErrSASL].
func Connect(ctx context.Context, cfg Config, patience time.Duration) (client sarama.Client, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	err = starting(patience).Do(ctx, func() (err error) {
		if client, err = cfg.dial(cfg.control()); err == nil {
			return nil
		}
		if reason := cfg.refusal(); reason != nil {
			return retry.Stop(reason)
		}
		return err
	})
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

// starting is quick at first: a broker that starts beside us is usually a
// moment away.
func starting(patience time.Duration) retry.Policy {
	return retry.Policy{First: 50 * time.Millisecond, Most: time.Second, Patience: patience}
}

// refusal is why the first broker that answers will not have us; nil where
// none answers, or one would. sarama's client keeps it to itself.
func (c Config) refusal() error {
	for _, address := range c.Brokers {
		sc := c.control()
		if err := c.Security.apply(sc); err != nil {
			return err
		}
		broker := sarama.NewBroker(address)
		if err := broker.Open(sc); err != nil {
			return fmt.Errorf("open broker %s: %w", address, err)
		}
		// The handshake of TLS waits for the first request.
		_, err := broker.GetMetadata(sarama.NewMetadataRequest(sc.Version, []string{}))
		_ = broker.Close()
		if class := refused(err); class != nil {
			return fmt.Errorf("%w: broker %s: %w", class, address, err)
		}
	}
	return nil
}

// refused distinguishes brokers that answer and refuse us from brokers that are
// away: to try again does not help.
func refused(err error) error {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		host      x509.HostnameError
		verify    *tls.CertificateVerificationError
		remote    *net.OpError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, sarama.ErrSASLAuthenticationFailed), errors.Is(err, sarama.ErrUnsupportedSASLMechanism),
		errors.Is(err, sarama.ErrIllegalSASLState):
		return ErrSASL
	case errors.As(err, &authority), errors.As(err, &invalid), errors.As(err, &host), errors.As(err, &verify), errors.As(err, &record):
		return ErrTLS
	case errors.As(err, &remote) && remote.Op == "remote error": // what crypto/tls makes of the other side's alert
		return ErrTLS
	default:
		return nil
	}
}

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
