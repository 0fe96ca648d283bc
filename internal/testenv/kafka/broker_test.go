//go:build unix && integration

package kafka_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/testenv/certs"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

// patience bounds a hang, on the slowest machine.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	leaks.Main(m)
}

// A record that was acknowledged is there after kill -9 and after a stop, at
// the same address and in the same cluster.
func TestRecordsAndIdentitySurviveRestarts(t *testing.T) {
	b := testkafka.Start(t)
	cfg := kafka.Config{Brokers: []string{b.Address()}, Patience: patience}
	first := publish(t, cfg)
	for name, end := range map[string]func() error{
		"kill": func() error { b.Kill(); return nil },
		"stop": b.Stop,
	} {
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if b.Process().Running() {
			t.Fatalf("the broker runs after a %s", name)
		}
		if err := b.Restart(t.Context()); err != nil {
			t.Fatalf("after a %s: %v", name, err)
		}
		if again := publish(t, cfg); again != first {
			t.Errorf("cluster %s after a %s, was %s", again, name, first)
		}
	}
	client, err := kafka.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	var total int64
	for p := range int32(banking.Partitions) {
		end, err := client.GetOffset(banking.TopicOrdersCreated, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		total += end
	}
	if total != 3 {
		t.Errorf("%d records in the log, want 3", total)
	}
}

// Two brokers are two clusters and know nothing of each other.
func TestBrokersAreApart(t *testing.T) {
	a, b := testkafka.Start(t), testkafka.Start(t)
	one := publish(t, kafka.Config{Brokers: []string{a.Address()}})
	two := publish(t, kafka.Config{Brokers: []string{b.Address()}})
	if one == two {
		t.Errorf("both are cluster %s", one)
	}
}

// Kafka takes who shows a certificate and knows the password, and its refusal
// shows at once, without the password.
func TestKafkaWithTLSAndSASL(t *testing.T) {
	const password = "correct-horse"
	ca := certs.New(t, "authority")
	own, client := ca.Sign(t, "broker"), ca.Sign(t, "client")
	certificate := filepath.Join(t.TempDir(), "broker.pem")
	if err := os.WriteFile(certificate, []byte(own.Cert+own.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	_, address := testkafka.StartGuarded(t, testkafka.Guard{
		Authorities: ca.File, Certificate: certificate, User: "vigie", Password: password,
	})
	as := func(mechanism, word string) kafka.Security {
		return kafka.Security{
			TLS: true, CAFile: ca.File, CertFile: client.CertFile, KeyFile: client.KeyFile,
			Mechanism: mechanism, User: "vigie", Password: secret.Of(word),
		}
	}
	without := as("PLAIN", password)
	without.CertFile, without.KeyFile = "", ""
	for name, tt := range map[string]struct {
		security kafka.Security
		want     error
	}{
		"PLAIN":                     {as("PLAIN", password), nil},
		"SCRAM-SHA-512":             {as("SCRAM-SHA-512", password), nil},
		"PLAIN, wrong password":     {as("PLAIN", "wrong-horse"), kafka.ErrSASL},
		"SCRAM, wrong password":     {as("SCRAM-SHA-512", "wrong-horse"), kafka.ErrSASL},
		"a mechanism it has not":    {as("SCRAM-SHA-256", password), kafka.ErrSASL},
		"no certificate of our own": {without, kafka.ErrTLS},
		"nobody, in plain text":     {kafka.Security{}, kafka.ErrUnreachable},
	} {
		cfg := kafka.Config{Brokers: []string{address}, ClientID: "test", Security: tt.security, Patience: patience}
		if tt.want == nil {
			publish(t, cfg)
			continue
		}
		if errors.Is(tt.want, kafka.ErrUnreachable) {
			cfg.Patience = time.Second // it is tried again all the while, and never taken
		}
		_, err := kafka.Connect(t.Context(), cfg)
		if !errors.Is(err, tt.want) || strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// publish puts one record on a topic and returns the cluster's id.
func publish(t *testing.T, cfg kafka.Config) string {
	t.Helper()
	client, err := kafka.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := kafka.EnsureTopics(t.Context(), client, banking.Topics()); err != nil {
		t.Fatal(err)
	}
	p, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.Publish(t.Context(), &sarama.ProducerMessage{Topic: banking.TopicOrdersCreated, Key: sarama.StringEncoder("k")}); err != nil {
		t.Fatal(err)
	}
	ids, err := kafka.Identities(t.Context(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ids["cluster"]
}
