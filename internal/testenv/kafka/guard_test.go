//go:build unix && integration

package kafka_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// Kafka takes who shows a certificate and knows the password, and its refusal
// is told at once, without the password.
func TestKafkaWithTLSAndSASL(t *testing.T) {
	const password = "correct-horse"
	ca := testcerts.New(t, "authority")
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
		cfg := kafka.Config{Brokers: []string{address}, ClientID: "test", Security: tt.security}
		if tt.want == nil {
			publish(t, cfg)
			continue
		}
		wait := time.Minute
		if errors.Is(tt.want, kafka.ErrUnreachable) {
			wait = time.Millisecond
		}
		_, err := kafka.Connect(t.Context(), cfg, wait)
		if !errors.Is(err, tt.want) || strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
