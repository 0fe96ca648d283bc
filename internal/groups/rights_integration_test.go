//go:build integration

package groups_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/vigie-dev/vigie/internal/groups"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/secret"
	"github.com/vigie-dev/vigie/internal/testenv/certs"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
)

// What the document says of rights holds on Apache Kafka with its own authorizer, TLS and SASL.
func TestRightsOnApacheKafka(t *testing.T) {
	const user, password = "sentinelle", "correct-horse"
	ca := certs.New(t, "authority")
	own, ours := ca.Sign(t, "broker"), ca.Sign(t, "client")
	certificate := filepath.Join(t.TempDir(), "broker.pem")
	if err := os.WriteFile(certificate, []byte(own.Cert+own.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	broker, guarded := testkafka.StartGuarded(t, testkafka.Guard{
		Authorities: ca.File, Certificate: certificate, User: user, Password: password, Authorized: true,
	})
	admin, err := sarama.NewClusterAdmin([]string{broker.Address()}, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	if err := admin.CreateTopic("orders", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	populate(t, func(options ...kgo.Opt) *kgo.Client {
		client, err := kgo.NewClient(append(options, kgo.SeedBrokers(broker.Address()), kgo.DisableClientMetrics())...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	})
	for _, c := range restrictions() {
		t.Run(c.name, func(t *testing.T) {
			if err := testkafka.Permit(admin, user, slices.DeleteFunc(documented(t), c.missing)...); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := testkafka.ForbidAll(admin, user); err != nil {
					t.Error(err)
				}
			})
			as := groups.Config{Kafka: kafka.Config{Brokers: []string{guarded}, ClientID: "test", Security: kafka.Security{
				TLS: true, CAFile: ca.File, CertFile: ours.CertFile, KeyFile: ours.KeyFile,
				Mechanism: "SCRAM-SHA-512", User: user, Password: secret.Of(password),
			}}}
			c.await(t, newWatcher(t, as)) // the broker goes by new rights a moment later
			c.check(t, newWatcher(t, as))
		})
	}
}
