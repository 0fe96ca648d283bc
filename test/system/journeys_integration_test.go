//go:build integration && (!race || whole)

package system_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// Two instances of sentinelle share one ledger, on real Kafka and PostgreSQL. They are killed under load, in
// turn and together, stopped, and frozen until the other has taken over, while paiement is killed too:
// afterwards either has counted what the audit has, to the order.
func TestJourneysOfTwoInstancesAreExact(t *testing.T) {
	binary, broker, server := bank.Binary(t), testkafka.Start(t), testpostgres.Start(t)
	database := server.Database(t)
	s := &several{database: database}
	s.Bank, s.processes = startTwo(t, testsystem.Config{
		Binary: binary, Brokers: broker.Address(), Data: t.TempDir(), Database: database, Watched: true,
	}, []string{"--log-level", "warn", "--kafka-session-timeout", "6s", "--sentinelle-objective", "2s", "--paiement-error-rate", "0.4"})
	stop, results := make(chan struct{}), make(chan []placed)
	go func() { results <- stubbornLoad(s.Bank, 4, stop) }()
	both := s.processes.Instances(testsystem.Sentinelle)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"the first is killed", func() error { both[0].Kill(); return nil }},
		{"the second is killed", func() error { both[1].Kill(); return nil }},
		{"both are killed", func() error { both[0].Kill(); both[1].Kill(); return nil }},
		{"the first is frozen until the second has its partitions", func() error {
			if err := both[0].Process().Freeze(); err != nil {
				return err
			}
			s.moreOrders(t)
			err := lifecycle.Sleep(t.Context(), 12*time.Second)
			if thawed := both[0].Process().Thaw(); err == nil {
				err = thawed
			}
			return err
		}},
		{"one is killed with paiement's two", func() error {
			both[1].Kill()
			for _, p := range s.processes.Instances(testsystem.Paiement) {
				p.Kill()
			}
			return nil
		}},
		{"the first is stopped, and the second killed", func() error { err := both[0].Stop(); both[1].Kill(); return err }},
	} {
		s.moreOrders(t)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if err := s.processes.Start(t.Context()); err != nil {
			t.Fatalf("after %s: %v", step.what, err)
		}
	}
	s.moreOrders(t)
	close(stop)
	requests := <-results
	bank.Eventually(t, func() error {
		report, _ := auditJSON(t, s.Brokers, "--database-url", database)
		if !report.AccountedFor || report.InFlight.Count > 0 || report.DeadLettered.Count == 0 || report.Created.Count > int64(len(requests)) {
			return fmt.Errorf("of %d requests the audit says %+v", len(requests), report)
		}
		for _, p := range both {
			if err := journeysOf(t, p.URL).agree(report); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		return nil
	})
}
