package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	franzscram "github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/xdg-go/scram"

	"github.com/vigie-dev/vigie/internal/files"
	"github.com/vigie-dev/vigie/internal/secret"
)

var (
	// ErrTLS: settings of TLS that cannot work, or brokers that do not agree to them.
	ErrTLS = errors.New("TLS to Kafka")
	// ErrSASL: settings of SASL that cannot work, or brokers that refuse the user or its password.
	ErrSASL = errors.New("authenticate to Kafka")
)

// Security says how connections to the brokers are protected, and as which user
// the program authenticates. The zero value is plain text, without a user.
type Security struct {
	// TLS encrypts the connections and checks the brokers' certificates against
	// CAFile, or against the system's authorities where it is empty.
	TLS    bool
	CAFile string
	// CertFile and KeyFile are the program's own certificate, PEM, for brokers
	// that want one; both or none. They are read again for each connection, so
	// that a new certificate needs no restart.
	CertFile, KeyFile string
	// Mechanism is one of [Mechanisms], or empty for no authentication.
	Mechanism string
	User      string
	Password  secret.Value
}

// Mechanisms are the ways to authenticate: RFC 4616, and RFC 5802 with the hash
// functions that Kafka knows.
func Mechanisms() []string {
	return []string{sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512}
}

// Validate returns [ErrTLS] or [ErrSASL] where the settings contradict each
// other or name files that cannot be used.
func (s Security) Validate() error {
	_, tlsErr := s.tls()
	return errors.Join(tlsErr, s.validateSASL())
}

func (s Security) validateSASL() error {
	switch {
	case s.Mechanism == "" && (s.User != "" || s.Password.Present()):
		return fmt.Errorf("%w: there is a user or a password, and no mechanism", ErrSASL)
	case s.Mechanism == "":
		return nil
	case !slices.Contains(Mechanisms(), s.Mechanism):
		return fmt.Errorf("%w: the mechanism is one of %v", ErrSASL, Mechanisms())
	case s.User == "" || !s.Password.Present():
		return fmt.Errorf("%w: %s wants a user and a password", ErrSASL, s.Mechanism)
	default:
		return nil
	}
}

// Readable says whether the password crosses the network as it is.
func (s Security) Readable() bool { return s.Mechanism == sarama.SASLTypePlaintext && !s.TLS }

// tls reads the files; nil where there is no TLS.
func (s Security) tls() (*tls.Config, error) {
	if !s.TLS {
		if s.CAFile != "" || s.CertFile != "" || s.KeyFile != "" {
			return nil, fmt.Errorf("%w: there are certificates, but it is not switched on", ErrTLS)
		}
		return nil, nil //nolint:nilnil // none wanted, none given
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		var err error
		if config.RootCAs, err = files.Authorities(s.CAFile); err != nil {
			return nil, fmt.Errorf("%w: read authorities: %w", ErrTLS, err)
		}
	}
	if s.CertFile == "" && s.KeyFile == "" {
		return config, nil
	}
	if _, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile); err != nil {
		return nil, fmt.Errorf("%w: our own certificate: %w", ErrTLS, err)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		own, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		return &own, err
	}
	return config, nil
}

// apply sets a client's configuration up. Validate has passed.
func (s Security) apply(sc *sarama.Config) error {
	config, err := s.tls()
	if err != nil {
		return err
	}
	if config != nil {
		sc.Net.TLS.Enable, sc.Net.TLS.Config = true, config
	}
	if s.Mechanism == "" {
		return nil
	}
	sc.Net.SASL.Enable = true
	sc.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	sc.Net.SASL.User, sc.Net.SASL.Password = s.User, s.Password.Reveal()
	if generator := scramOf(s.Mechanism); generator != nil {
		sc.Net.SASL.SCRAMClientGeneratorFunc = generator
	}
	return nil
}

// franz is the mechanism as franz-go has it.
func (s Security) franz() (sasl.Mechanism, error) {
	user := franzscram.Auth{User: s.User, Pass: s.Password.Reveal()}
	switch s.Mechanism {
	case sarama.SASLTypePlaintext:
		return plain.Auth{User: s.User, Pass: s.Password.Reveal()}.AsMechanism(), nil
	case sarama.SASLTypeSCRAMSHA256:
		return user.AsSha256Mechanism(), nil
	case sarama.SASLTypeSCRAMSHA512:
		return user.AsSha512Mechanism(), nil
	default:
		return nil, fmt.Errorf("%w: the mechanism is one of %v", ErrSASL, Mechanisms())
	}
}

// scramClient is sarama's view of one SCRAM conversation (RFC 5802).
type scramClient struct {
	hash         scram.HashGeneratorFcn
	conversation *scram.ClientConversation
}

// scramOf makes conversations for a mechanism; nil for those that need none.
func scramOf(mechanism string) func() sarama.SCRAMClient {
	switch mechanism {
	case sarama.SASLTypeSCRAMSHA256:
		return func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case sarama.SASLTypeSCRAMSHA512:
		return func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	default:
		return nil
	}
}

// Begin implements [sarama.SCRAMClient].
func (c *scramClient) Begin(user, password, authorization string) error {
	client, err := c.hash.NewClient(user, password, authorization)
	if err != nil {
		return fmt.Errorf("prepare user and password: %w", err)
	}
	c.conversation = client.NewConversation()
	return nil
}

// Step implements [sarama.SCRAMClient].
func (c *scramClient) Step(challenge string) (string, error) { return c.conversation.Step(challenge) }

// Done implements [sarama.SCRAMClient].
func (c *scramClient) Done() bool { return c.conversation.Done() }
