package service

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/fault"
	"github.com/vigie-dev/vigie/internal/faults"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/traces"
	"github.com/vigie-dev/vigie/telemetry"
)

// Settings configure a service. They come from flags or the
// environment; tests set them directly.
type Settings struct {
	// Version is the program's version, shown at GET / and on spans.
	Version string
	// Address is where to listen, host:port, or several of them with commas
	// between; port 0 picks a free one.
	Address string
	// HTTP says which clients the service answers, and how many at once.
	HTTP HTTP
	// Brokers are Kafka's bootstrap addresses.
	Brokers []string
	// KafkaSecurity says how we authenticate.
	KafkaSecurity kafka.Security
	// KafkaDialer makes the connections to them; nil is TCP as it is.
	KafkaDialer kafka.Dialer
	// DatabaseURL names the storage, sqlite:FOLDER or postgres://…. It may contain
	// a password.
	DatabaseURL string
	// DatabaseConnections bounds the connections to a PostgreSQL server; 0 is
	// storage.DefaultConnections.
	DatabaseConnections int
	// KafkaPatience is how long each step of a start waits for brokers that are
	// away, also after they have answered once.
	KafkaPatience time.Duration
	// KafkaSession is how long the service's consumer may be silent before
	// Kafka gives its partitions away; 0 is kafka.DefaultSessionTimeout.
	KafkaSession time.Duration

	// Retention is how long decided orders are kept; at least as long as the
	// dead letters, whose replay has to find what was decided.
	Retention time.Duration

	// LogWriter, LogFormat and LogLevel are telemetry.Config's.
	LogWriter io.Writer
	LogFormat string
	LogLevel  slog.Level
	// LogLeftOut is the share of the orders, 0 to 1, whose INFO lines are not logged.
	LogLeftOut float64

	// Keeper keeps some of the traces in this process; nil for none.
	Keeper telemetry.Keeper

	// Clocks are those that what is old is judged by; nil for the system's.
	Clocks storage.Clocks

	// Fault kills the process at a named step; nil never does.
	Fault *fault.Injector
}

// Surroundings are what a part must know of the running whole. Who starts the
// whole fills them in; a part that runs alone has them from its flags.
type Surroundings struct {
	// Peers are the bank's services; none where there is no bank.
	Peers []Peer
	// TLS is how connections to the peers are secured where their URLs say so; nil
	// for the system's authorities. It is asked for each connection.
	TLS func() (*tls.Config, error)
	// PrometheusURL is where a Prometheus answers that watches them; "" for none.
	PrometheusURL string
	// Traces is where traces are read; nil for nowhere.
	Traces traces.Source
	// LeftOut names the rules about parts that do not exist here, which stay silent.
	LeftOut []string
	// Demo: the orders are a demonstration's.
	Demo bool
	// Language is that of people, such as fr; "" for English.
	Language string
	// Within: the services run in this process, so that their storage is here.
	Within bool
	// Faults break things on purpose; nil where nobody may.
	Faults *faults.Switches
	// FaultsByToken: whoever breaks things has shown a token, and may come by any address.
	FaultsByToken bool
}

// Peer is a service as others see it.
type Peer struct {
	Name string
	Does string
	URL  string // without a slash at its end
	// Reads and Writes are its topics.
	Reads, Writes []string
}

// HTTP configures how a service meets its clients. The zero value has
// every default: no token is needed, and there is no TLS.
type HTTP struct {
	// MaxConcurrent bounds the requests for the service's own routes at work at
	// once, and MaxConnections the connections of each address.
	MaxConcurrent  int
	MaxConnections int

	// TokensFile names a file with the tokens of which a client needs one for
	// the service's own routes; "" for none needed.
	TokensFile string

	// CertFile and KeyFile name a certificate and its key, PEM. With them the
	// service speaks TLS alone; without, none.
	CertFile string
	KeyFile  string
}

const (
	// DefaultPatience is how long a start waits for a broker where nothing else is set.
	DefaultPatience = kafka.DefaultPatience
	// DefaultRetention is how long decided orders are kept where nothing else is set.
	DefaultRetention = 90 * 24 * time.Hour
)

// Errors of settings that do not fit.
var (
	// ErrRetention: decided orders would be forgotten while they can still be
	// replayed, and then be decided again.
	ErrRetention = errors.New("retention is too short")
	// ErrBounds: a bound on requests or connections that would refuse them all.
	ErrBounds = errors.New("bound is not positive")
)

func (s Settings) withDefaults() Settings {
	if s.KafkaPatience <= 0 {
		s.KafkaPatience = DefaultPatience
	}
	s.HTTP = s.HTTP.withDefaults()
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	return s
}

func (s Settings) validate() error {
	for address := range strings.SplitSeq(s.Address, ",") {
		if _, _, err := net.SplitHostPort(strings.TrimSpace(address)); err != nil {
			return fmt.Errorf("address %q is not host:port", address)
		}
	}
	if err := s.HTTP.validate(); err != nil {
		return err
	}
	for _, t := range banking.Topics() {
		if s.Retention < t.Retention {
			return fmt.Errorf("%w: %v is less than the %v of %s", ErrRetention, s.Retention, t.Retention, t.Name)
		}
	}
	return nil
}

func (h HTTP) withDefaults() HTTP {
	if h.MaxConcurrent == 0 {
		h.MaxConcurrent = httpapi.DefaultMaxConcurrent
	}
	if h.MaxConnections == 0 {
		h.MaxConnections = httpapi.DefaultMaxConnections
	}
	return h
}

func (h HTTP) validate() error {
	switch {
	case h.MaxConcurrent < 1:
		return fmt.Errorf("%w: %d concurrent requests", ErrBounds, h.MaxConcurrent)
	case h.MaxConnections < 1:
		return fmt.Errorf("%w: %d connections", ErrBounds, h.MaxConnections)
	case (h.CertFile == "") != (h.KeyFile == ""):
		return fmt.Errorf("%w: want both the certificate and its key, or neither", httpapi.ErrCertificate)
	}
	return nil
}
