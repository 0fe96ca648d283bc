//go:build integration

package system_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/internal/testenv/certs"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// With the rights that the documents give it, and no more, sentinelle sees all of a bank; without
// one of them it says that it does not.
func TestTheDocumentedRightsAreEnough(t *testing.T) {
	const user, password = "sentinelle", "correct-horse"
	ca := certs.New(t, "authority")
	own, ours := ca.Sign(t, "broker"), ca.Sign(t, "client")
	certificate, word := filepath.Join(t.TempDir(), "broker.pem"), filepath.Join(t.TempDir(), "password")
	if err := errors.Join(os.WriteFile(certificate, []byte(own.Cert+own.Key), 0o600), os.WriteFile(word, []byte(password), 0o600)); err != nil {
		t.Fatal(err)
	}
	broker, guarded := testkafka.StartGuarded(t, testkafka.Guard{
		Authorities: ca.File, Certificate: certificate, User: user, Password: password, Authorized: true,
	})
	s, _ := bank.StartProcesses(t, testsystem.Config{Binary: bank.Binary(t), Brokers: broker.Address(), Data: t.TempDir()}, nil, nil)
	admin, err := sarama.NewClusterAdmin([]string{broker.Address()}, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	watch := func(missing func(testkafka.Grant) bool) (*bank.Command, string) {
		grants := slices.Concat(testkafka.Grants(repo.Read(t, "docs/groups.md"), user), testkafka.Grants(repo.Read(t, "docs/journeys.md"), user))
		err := errors.Join(testkafka.ForbidAll(admin, user), testkafka.Permit(admin, user, slices.DeleteFunc(grants, missing)...))
		if err != nil {
			t.Fatal(err)
		}
		p := bank.LaunchService(t, "sentinelle", "--data", t.TempDir(), "--kafka-brokers", guarded, "--sentinelle-interval", "1s", "--sentinelle-objective", "2s",
			"--kafka-tls", "--kafka-tls-ca-file", ca.File, "--kafka-tls-cert-file", ours.CertFile, "--kafka-tls-key-file", ours.KeyFile,
			"--kafka-sasl-mechanism", "SCRAM-SHA-512", "--kafka-sasl-user", user, "--kafka-sasl-password-file", word)
		found := p.Stdout.Wait(t, `sentinelle answers at (\S+)`, p.Done)
		if found == nil {
			t.Fatalf("sentinelle ended with %d: %s", p.Status, p.Stderr)
		}
		return p, found[1]
	}
	const orders = 10
	for range orders {
		s.MustOrder(t, "10")
	}
	s.Settled(t, orders)

	all, page := watch(func(testkafka.Grant) bool { return false })
	bank.Eventually(t, func() error {
		_, now := bank.Scrape(t, page)
		counted := 0.0
		for _, outcome := range journeys.Outcomes() {
			counted += now[fmt.Sprintf(`%s{outcome=%q,service="sentinelle"}`, journeys.JourneysTotal, outcome)]
		}
		waiting, known := now[journeys.OrdersWaiting+`{service="sentinelle"}`]
		lag, seen := now[fmt.Sprintf(`kafka_consumergroup_lag_sum{consumergroup=%q,service="sentinelle",topic=%q}`, banking.GroupPaiement, banking.TopicOrdersCreated)]
		if counted != orders || !known || waiting != 0 || !seen || lag != 0 {
			return fmt.Errorf("%v journeys, %v wait (known: %t), paiement's lag is %v (known: %t)", counted, waiting, known, lag, seen)
		}
		for name, n := range now {
			if n > 0 && (strings.HasPrefix(name, "sentinelle_missing_rights{") || strings.HasPrefix(name, "sentinelle_unknown_ages{") || strings.HasPrefix(name, `sentinelle_request_failures_total{kind="authorization"`)) {
				return fmt.Errorf("%s is %v", name, n)
			}
		}
		return nil
	})
	if status := all.Stop(); status != 0 || strings.Contains(all.Stderr.String(), "uthoriz") {
		t.Errorf("sentinelle ended with %d: %s", status, all.Stderr)
	}

	for what, missing := range map[string]func(testkafka.Grant) bool{
		"its own group": func(g testkafka.Grant) bool { return g.Name == banking.GroupSentinelle },
		"suivi's group": func(g testkafka.Grant) bool {
			return g.Resource == "group" && (g.Name == banking.GroupSuivi || g.Name == "*")
		},
		"the topics": func(g testkafka.Grant) bool { return g.Resource == "topic" && g.Operation == "Read" },
		"a single topic": func(g testkafka.Grant) bool {
			return g.Resource == "topic" && g.Operation == "Read" && (g.Name == "*" || g.Name == banking.TopicPaymentsAuthorized)
		},
	} {
		blind, page := watch(missing)
		bank.Eventually(t, func() error {
			_, now := bank.Scrape(t, page)
			unseen, told := now[journeys.Unseen+`{service="sentinelle"}`]
			if _, known := now[journeys.OrdersWaiting+`{service="sentinelle"}`]; known || !told || unseen < 2 {
				return fmt.Errorf("without a right to %s: unseen for %v s (told: %t), and it says what waits: %t", what, unseen, told, known)
			}
			if logs := blind.Stderr.String(); !strings.Contains(logs, "uthoriz") {
				return fmt.Errorf("without a right to %s the log is %s", what, logs)
			}
			return nil
		})
		if status := blind.Stop(); status != 0 {
			t.Errorf("without a right to %s sentinelle ended with %d: %s", what, status, blind.Stderr)
		}
	}
}
