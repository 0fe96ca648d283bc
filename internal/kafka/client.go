// Package kafka is how the services reach Kafka: connections, topics, and
// records published or read outside any group. It exists so that every
// connection has the settings that exactly-once effects depend on.
//
// client.go connects; identity.go watches whether the cluster answers, and is
// the same; security.go has TLS and SASL; topics.go the topics and consumer
// groups, settings.go the topics' settings; publish.go sends records and scan.go
// reads them outside any group, whole.go so that nothing is missing; unreadable.go
// says of batches that nothing can be made of where they are. franz.go gives the same settings
// to the other client, which only asks.
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
	"os"
	"strings"
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
	// Patience is how long each step of a start (connecting, topics, offsets,
	// reading) waits for brokers that are away, also after they have answered
	// once; 0 is [DefaultPatience].
	Patience time.Duration
	// Dialer makes the connections; nil is TCP as it is.
	Dialer Dialer
	// Linger is how long a producer gathers records before it sends them: for one whose
	// records come many at a time. 0 sends the first at once, and the rest with the next request.
	Linger time.Duration
}

// Dialer makes connections, as a [net.Dialer] does.
type Dialer interface {
	Dial(network, address string) (net.Conn, error)
}

const (
	// DefaultSessionTimeout is the session timeout of consumers, sarama's own.
	DefaultSessionTimeout = 10 * time.Second
	// DefaultPatience is how long a start waits for brokers that are away.
	DefaultPatience = 10 * time.Second
)

// heartbeats is how many of them fit into a session at least: one may be lost.
const heartbeats = 3

const (
	dialTimeout = 3 * time.Second
	netTimeout  = 10 * time.Second
	// controlTimeout bounds a request for metadata or offsets.
	controlTimeout = 3 * time.Second
	// lingerBytes are sent without further waiting.
	lingerBytes = 128 << 10
	// claimBuffer holds records fetched ahead, so that a batch can be filled.
	claimBuffer = 1024
	// commitInterval is how far the group's offset in Kafka, which nobody
	// here relies on, may trail the position in storage.
	commitInterval = 500 * time.Millisecond
	// refreshInterval is how soon a consumer learns of partitions that were
	// added: two of it, since it asks and compares on timers of their own.
	refreshInterval = 5 * time.Second
	// maxHeartbeat bounds how late a member learns of a rebalance, and so of
	// partitions that were added, however long a session may be.
	maxHeartbeat = 4 * time.Second
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
	var dialer Dialer = &net.Dialer{Timeout: role.Net.DialTimeout, KeepAlive: role.Net.KeepAlive}
	if c.Dialer != nil {
		dialer = c.Dialer
	}
	role.Net.Proxy.Enable, role.Net.Proxy.Dialer = true, impatient{dialer}
	return sarama.NewClient(c.Brokers, role)
}

// impatient makes connections that end when a read runs out of time. sarama would go on
// with them: it takes the answer that comes late for the next request's, and from then on
// every request fails, until something else closes the connection.
type impatient struct{ Dialer }

func (d impatient) Dial(network, address string) (net.Conn, error) {
	c, err := d.Dialer.Dial(network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // sarama's to tell
	}
	return impatientConn{c}, nil
}

type impatientConn struct{ net.Conn }

func (c impatientConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Close() // the time is what there is to tell
	}
	return n, err //nolint:wrapcheck // as the connection's
}

// patiently does a step of a start until it succeeds, until the patience is
// over, or until the brokers give an answer that waiting does not change.
func (c Config) patiently(ctx context.Context, step func() error) error {
	return c.starting().Do(ctx, func() error {
		err := step()
		if hopeless(err) {
			return retry.Stop(err)
		}
		return err
	})
}

// starting is quick at first: a broker that starts beside us is usually a
// moment away.
func (c Config) starting() retry.Policy {
	return retry.Policy{First: 50 * time.Millisecond, Most: time.Second, Patience: cmp.Or(c.Patience, DefaultPatience)}
}

// hopeless knows the answers of brokers that waiting does not change.
func hopeless(err error) bool {
	for _, final := range []error{
		ErrTLS, ErrSASL, sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrPolicyViolation, sarama.ErrInvalidConfig, sarama.ErrInvalidReplicationFactor, sarama.ErrInvalidPartitions,
		sarama.ErrInvalidTopic, sarama.ErrUnsupportedVersion, sarama.ErrOffsetOutOfRange, ErrUnreadable,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// ConnectConsumer connects a client for reading, with the patience of a start.
// The caller closes it.
func (c Config) ConnectConsumer(ctx context.Context) (client sarama.Client, err error) {
	err = c.patiently(ctx, func() (err error) {
		client, err = c.dial(c.consumer())
		return err
	})
	return client, err
}

// base is what every connection has in common. All that is read has been
// committed: what a transaction of somebody else's has aborted was never there.
// And no question about a topic may create it.
func (c Config) base() *sarama.Config {
	sc := sarama.NewConfig()
	sc.ClientID = c.ClientID
	sc.Net.DialTimeout = dialTimeout
	sc.Net.ReadTimeout = netTimeout
	sc.Net.WriteTimeout = netTimeout
	sc.Metadata.Retry.Max = 3
	sc.Metadata.AllowAutoTopicCreation = false
	sc.Consumer.IsolationLevel = sarama.ReadCommitted
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
	if c.Linger > 0 {
		sc.Producer.Flush.Frequency, sc.Producer.Flush.Bytes = c.Linger, lingerBytes
	}
	return sc
}

// consumer balances eagerly, so that every assignment passes through Setup,
// where reading is set to storage's position.
func (c Config) consumer() *sarama.Config {
	sc := c.base()
	sc.Metadata.RefreshFrequency = refreshInterval
	sc.Metadata.Full = false // its own topics are enough to ask for so often
	sc.Consumer.Offsets.Initial = sarama.OffsetOldest
	sc.Consumer.Offsets.AutoCommit.Interval = commitInterval
	sc.Consumer.Group.ResetInvalidOffsets = false // never skip records silently
	sc.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	sc.Consumer.Group.Session.Timeout = cmp.Or(c.SessionTimeout, DefaultSessionTimeout)
	sc.Consumer.Group.Heartbeat.Interval = min(sc.Consumer.Group.Session.Timeout/heartbeats, maxHeartbeat)
	sc.Consumer.Return.Errors = true
	sc.ChannelBufferSize = claimBuffer
	return sc
}

// ErrUnreachable: no broker answered in time.
var ErrUnreachable = errors.New("no Kafka broker answers")

// Client asks the cluster about topics, offsets and health, with the patience
// of a start.
type Client struct {
	sarama.Client
	cfg Config
}

// Connect waits for the cluster to answer, at most for the patience, and
// returns a client for administration: topics, offsets, health. Brokers that
// answer and refuse us are not tried again: [ErrTLS], [ErrSASL].
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client := &Client{cfg: cfg}
	err := cfg.starting().Do(ctx, func() (err error) {
		if client.Client, err = cfg.dial(cfg.control()); err == nil {
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
