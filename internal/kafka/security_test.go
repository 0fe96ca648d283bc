package kafka_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
)

const password = "correct horse"

// guarded is a broker that asks for what its options say.
func guarded(t *testing.T, options ...kfake.Opt) []string {
	t.Helper()
	c, err := kfake.NewCluster(append(options, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func signsIn(mechanism string) []kfake.Opt {
	return []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(mechanism, "vigie", password)}
}

// encrypted has the server show its certificate and ask for the client's.
func encrypted(t *testing.T, ca *testcerts.Authority) kfake.Opt {
	t.Helper()
	own := ca.Sign(t, "broker")
	pair, err := tls.LoadX509KeyPair(own.CertFile, own.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})
}

// plainText is a broker that knows no TLS. To it, the first bytes of a handshake
// are the length of a request, too large by far: Kafka ends the connection, where
// kfake waits for the rest.
func plainText(t *testing.T) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var length [4]byte
			if _, err := io.ReadFull(conn, length[:]); err == nil && length[0] != 0x16 { // a handshake, RFC 8446, 5.1
				t.Errorf("a request begins with %x", length)
			}
			_ = conn.Close()
		}
	}()
	return []string{l.Addr().String()}
}

func TestSecuredBrokersTakeWhoeverMayComeAndNobodyElse(t *testing.T) {
	ca, foreign := testcerts.New(t, "authority"), testcerts.New(t, "foreign")
	client, stranger := ca.Sign(t, "client"), foreign.Sign(t, "stranger")
	plain, scram := guarded(t, signsIn("PLAIN")...), guarded(t, signsIn("SCRAM-SHA-512")...)
	weaker := guarded(t, signsIn("SCRAM-SHA-256")...)
	locked, both := guarded(t, encrypted(t, ca)), guarded(t, append(signsIn("SCRAM-SHA-512"), encrypted(t, ca))...)
	open := guarded(t)

	user := func(mechanism, word string) kafka.Security {
		return kafka.Security{Mechanism: mechanism, User: "vigie", Password: secret.Of(word)}
	}
	own := kafka.Security{TLS: true, CAFile: ca.File, CertFile: client.CertFile, KeyFile: client.KeyFile}
	ownAndUser := own
	ownAndUser.Mechanism, ownAndUser.User, ownAndUser.Password = "SCRAM-SHA-512", "vigie", secret.Of(password)
	// kfake ends the connection where Kafka would answer with an error, so
	// ErrUnreachable for what it refuses; the test on real Kafka distinguishes
	// them.
	for name, tt := range map[string]struct {
		brokers  []string
		security kafka.Security
		want     error
	}{
		"PLAIN":                          {plain, user("PLAIN", password), nil},
		"PLAIN, wrong password":          {plain, user("PLAIN", "wrong horse"), kafka.ErrUnreachable},
		"PLAIN, nobody":                  {plain, kafka.Security{}, kafka.ErrUnreachable},
		"SCRAM-SHA-256":                  {weaker, user("SCRAM-SHA-256", password), nil},
		"SCRAM-SHA-512":                  {scram, user("SCRAM-SHA-512", password), nil},
		"SCRAM-SHA-512, wrong password":  {scram, user("SCRAM-SHA-512", "wrong horse"), kafka.ErrUnreachable},
		"a mechanism it does not have":   {scram, user("PLAIN", password), kafka.ErrUnreachable},
		"certificates":                   {locked, own, nil},
		"certificates and a user":        {both, ownAndUser, nil},
		"certificates without the user":  {both, own, kafka.ErrUnreachable},
		"no certificate of our own":      {locked, kafka.Security{TLS: true, CAFile: ca.File}, kafka.ErrTLS},
		"a certificate of a stranger":    {locked, kafka.Security{TLS: true, CAFile: ca.File, CertFile: stranger.CertFile, KeyFile: stranger.KeyFile}, kafka.ErrTLS},
		"a broker of another authority":  {locked, kafka.Security{TLS: true, CAFile: foreign.File}, kafka.ErrTLS},
		"plain text to a broker of TLS":  {locked, kafka.Security{}, kafka.ErrUnreachable},
		"TLS to a broker of plain text":  {plainText(t), kafka.Security{TLS: true, CAFile: ca.File}, kafka.ErrUnreachable},
		"a user to a broker of nobody's": {open, user("PLAIN", password), kafka.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := kafka.Config{Brokers: tt.brokers, ClientID: "test", Security: tt.security, Patience: time.Minute} // what is refused is returned at once
			if errors.Is(tt.want, kafka.ErrUnreachable) {
				cfg.Patience = 1 // one try: no wait makes such a broker answer
			}
			admin, err := kafka.Connect(t.Context(), cfg)
			if !errors.Is(err, tt.want) {
				t.Fatalf("connect: %v, want %v", err, tt.want)
			}
			if err != nil {
				if strings.Contains(err.Error(), "horse") {
					t.Errorf("the password is in the error: %v", err)
				}
				return
			}
			p, err := kafka.NewPublisher(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			sent := p.Publish(t.Context(), &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("1")})
			if err := errors.Join(sent, p.Close(), admin.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSecurityIsCheckedBeforeAnythingIsConnected(t *testing.T) {
	ca := testcerts.New(t, "authority")
	own, other := ca.Sign(t, "one"), ca.Sign(t, "other")
	for name, tt := range map[string]struct {
		security kafka.Security
		want     error
	}{
		"nothing":                          {kafka.Security{}, nil},
		"the system's authorities":         {kafka.Security{TLS: true}, nil},
		"authorities without TLS":          {kafka.Security{CAFile: ca.File}, kafka.ErrTLS},
		"a file that is missing":           {kafka.Security{TLS: true, CAFile: ca.File + ".missing"}, kafka.ErrTLS},
		"a file without a certificate":     {kafka.Security{TLS: true, CAFile: own.KeyFile}, kafka.ErrTLS},
		"a certificate without its key":    {kafka.Security{TLS: true, CertFile: own.CertFile}, kafka.ErrTLS},
		"a certificate with another's key": {kafka.Security{TLS: true, CertFile: own.CertFile, KeyFile: other.KeyFile}, kafka.ErrTLS},
		"an unknown mechanism":             {kafka.Security{Mechanism: "GSSAPI", User: "u", Password: secret.Of("p")}, kafka.ErrSASL},
		"no user":                          {kafka.Security{Mechanism: "PLAIN", Password: secret.Of("p")}, kafka.ErrSASL},
		"no password":                      {kafka.Security{Mechanism: "PLAIN", User: "u"}, kafka.ErrSASL},
		"no mechanism":                     {kafka.Security{User: "u", Password: secret.Of("p")}, kafka.ErrSASL},
	} {
		err := kafka.Config{Brokers: []string{"127.0.0.1:1"}, Security: tt.security}.Validate()
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
