//go:build !race || whole

package system_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// The settings of a secured Kafka reach every connection of every command, and
// what is wrong with them is reported in one line that names the setting and not
// the password.
func TestSecuredKafka(t *testing.T) {
	const password = "correct horse"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "vigie", password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := cluster.ListenAddrs()[0]
	known := []string{"--kafka-brokers", broker, "--kafka-sasl-mechanism", "scram-sha-512", "--kafka-sasl-user", "vigie"}
	data := t.TempDir()
	s := bank.Start(t, data, append(known, "--kafka-sasl-password-file", file)...)
	s.MustOrder(t, "1")
	s.Settled(t, 1)

	t.Setenv("KAFKA_SASL_PASSWORD", password)
	for _, args := range [][]string{{"topics"}, {"topics", "--json"}, {"dlq"}, {"audit", "--data", data}} {
		line := append([]string{args[0]}, known...)
		if args[0] == "dlq" {
			line = append(line, "list")
		}
		p := bank.Launch(t, append(line, args[1:]...)...)
		<-p.Done
		if p.Status != 0 {
			t.Errorf("vigie %s = %d: %s%s", args[0], p.Status, p.Stdout, p.Stderr)
		}
		if slices.Contains(args, "--json") && p.Stdout.String() != `{"topics":5,"created":[],"changed":[],"concerns":[]}`+"\n" {
			t.Errorf("vigie topics --json writes %s", p.Stdout)
		}
	}
	p := bank.Launch(t, "topics", "--help")
	<-p.Done
	if text := p.Stdout.String(); strings.Contains(text, password) || !strings.Contains(text, "KAFKA_SASL_PASSWORD") {
		t.Errorf("--help with a password in the environment:\n%s", text)
	}
}

func TestWrongSettingsOfASecuredKafkaAreNamed(t *testing.T) {
	bank.Parallel(t)
	const password = "correct horse"
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no password":             {[]string{"topics", "--kafka-sasl-mechanism", "PLAIN", "--kafka-sasl-user", "vigie"}, "KAFKA_SASL_PASSWORD"},
		"no mechanism":            {[]string{"topics", "--kafka-sasl-user", "vigie", "--kafka-sasl-password", password}, "KAFKA_SASL_MECHANISM"},
		"a file that is missing":  {[]string{"topics", "--kafka-sasl-password-file", "/missing"}, "KAFKA_SASL_PASSWORD_FILE"},
		"two passwords":           {[]string{"topics", "--kafka-sasl-password-file", "/missing", "--kafka-sasl-password", password}, "give one"},
		"no authorities":          {[]string{"topics", "--kafka-tls", "--kafka-tls-ca-file", "/missing"}, "KAFKA_TLS_CA_FILE"},
		"the embedded broker":     {[]string{"up", "--data", t.TempDir(), "--kafka-tls"}, "KAFKA_BROKERS"},
		"authorities without TLS": {[]string{"dlq", "--kafka-tls-ca-file", "/missing", "list"}, "KAFKA_TLS"},
	} {
		p := bank.Launch(t, tt.args...)
		<-p.Done
		text := p.Stderr.String()
		if p.Status != 2 || strings.Count(text, "\n") != 1 || !strings.Contains(text, tt.want) || strings.Contains(text, password) {
			t.Errorf("%s: %d, %q does not name %q", name, p.Status, text, tt.want)
		}
	}
}
