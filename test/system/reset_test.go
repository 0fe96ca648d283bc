//go:build !race || whole

package system_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// After a reset the state is rebuilt from the topics, what was decided stays
// decided, and ids go on.
func TestResetRebuildsTheState(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data)
	const n = 30
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	before := s.Settled(t, n)
	s.Program.Stop()

	unconfirmed := bank.Launch(t, "reset", "--data", data, "--broker-addr", "127.0.0.1:0") // standard input says nothing
	<-unconfirmed.Done
	if unconfirmed.Status != 1 || !strings.Contains(unconfirmed.Stderr.String(), "not confirmed") {
		t.Errorf("unconfirmed reset = %d: %s", unconfirmed.Status, unconfirmed.Stderr)
	}
	for _, want := range []string{
		"what suivi and analyseur have stored", "keeps the order ids", "idempotency keys, paiement's ledger",
		"\n  ledger               30 orders\n", "\n  orders.created       30 records\n",
	} {
		if !strings.Contains(unconfirmed.Stdout.String(), want) {
			t.Errorf("the question does not say %q:\n%s", want, unconfirmed.Stdout)
		}
	}
	reset := bank.Launch(t, "reset", "--yes", "--json", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-reset.Done
	if reset.Status != 0 {
		t.Fatalf("reset = %d: %s", reset.Status, reset.Stderr)
	}
	if l := jsonLines(t, reset.Stdout.String()); len(l) != 1 || len(l[0]["cleared"].([]any)) != 3 || l[0]["ledgerOrders"] != 30.0 || l[0]["ledgerKnows"] == nil {
		t.Errorf("reset --json: %s", reset.Stdout)
	}

	mustReset(t, data) // once more: the groups are gone by now

	// Another seed would decide otherwise, if anything were decided again.
	s = bank.Start(t, data, "--paiement-seed", "99")
	after := s.Settled(t, n)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the reset %+v, before %+v", after, before)
	}
	for i := range n {
		if o := s.Decided(t, fmt.Sprintf("order-%d", i+1)); len(o.Events) != 2 {
			t.Errorf("%+v", o)
		}
	}
	if p := s.MustOrder(t, "1"); p.OrderID != fmt.Sprintf("order-%d", n+1) {
		t.Errorf("next order is %s, want order-%d", p.OrderID, n+1)
	}
	s.Settled(t, n+1)
	consume(t, s.Brokers, banking.TopicOrdersCreated, n+1)
}

// A reset beside running services changes nothing.
func TestResetRefusesWhileServicesRun(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data)
	s.MustOrder(t, "1")
	s.Settled(t, 1)
	for url, want := range map[string]string{"sqlite:" + data: "in use", "sqlite:" + t.TempDir(): "consumer group has members"} {
		p := bank.Launch(t, "reset", "--database-url", url, "--kafka-brokers", s.Brokers)
		<-p.Done
		if p.Status != 1 || !strings.Contains(p.Stderr.String(), want) || p.Stdout.String() != "" { // it does not ask
			t.Errorf("reset = %d: %s%s", p.Status, p.Stdout, p.Stderr)
		}
	}
	s.Settled(t, 1)
}

// A storage that was restored from an older copy is refused by the service it
// belongs to, and a reset fixes it.
func TestAnOlderCopyIsRefused(t *testing.T) {
	bank.Parallel(t)
	older, data := t.TempDir(), t.TempDir()
	s := bank.Start(t, data)
	s.MustOrder(t, "1")
	s.Settled(t, 1)
	s.Decided(t, "order-1")
	s.Program.Stop()
	if err := os.CopyFS(older, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	s = bank.Start(t, data)
	for range 10 { // every partition of every topic moves on
		s.MustOrder(t, "1")
	}
	s.Settled(t, 11)
	for i := range 11 {
		s.Decided(t, fmt.Sprintf("order-%d", i+1))
	}
	s.Program.Stop()
	for _, service := range services.All().Inside().Names() {
		t.Run(service, func(t *testing.T) {
			mixed := t.TempDir()
			if err := os.CopyFS(mixed, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			copied, err := os.ReadFile(filepath.Join(older, service, service+".db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(mixed, service, service+".db"), copied, 0o600); err != nil {
				t.Fatal(err)
			}
			p := bank.Launch(t, append(bank.FreePorts(services.All()), "--data", mixed, "--log-level", "error")...)
			<-p.Done
			if text := p.Stderr.String(); p.Status != 1 || !strings.Contains(text, service) || !strings.Contains(text, "vigie reset") {
				t.Errorf("start on an older copy = %d: %s", p.Status, text)
			}
			reset := bank.Launch(t, "reset", "--yes", "--data", mixed, "--broker-addr", "127.0.0.1:0")
			<-reset.Done
			if reset.Status != 0 {
				t.Fatalf("reset = %d: %s", reset.Status, reset.Stderr)
			}
			s := bank.Start(t, mixed)
			s.Settled(t, 11)
			if p := s.MustOrder(t, "1"); p.OrderID != "order-12" {
				t.Errorf("next order is %s, want order-12", p.OrderID)
			}
		})
	}
}

// mustReset resets a system that is stopped.
func mustReset(t *testing.T, data string) {
	t.Helper()
	reset := bank.Launch(t, "reset", "--yes", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-reset.Done
	if reset.Status != 0 {
		t.Fatalf("reset = %d: %s", reset.Status, reset.Stderr)
	}
}

// A reset that crashed has cleared some of the storages and no group: the
// services can just be started.
func TestAResetThatCrashedIsNoLoss(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error")
	const n = 6
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	before := s.Settled(t, n)
	s.Program.Stop()
	locked, err := storage.Lock(t.Context(), "sqlite:"+data, "paiement")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(locked.Clear(t.Context()), locked.Unlock()); err != nil {
		t.Fatal(err)
	}
	s = bank.Start(t, data, "--log-level", "error", "--paiement-seed", "99")
	consumed(t, s, n)
	if after := s.Settled(t, n); after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("afterwards %+v, before %+v", after, before)
	}
	if got := recordsOn(t, s.Brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); got != n {
		t.Errorf("%d decisions published, want %d", got, n)
	}
}

// consumed waits until paiement has read so many orders.
func consumed(t *testing.T, s *bank.Bank, n int) map[string]float64 {
	t.Helper()
	var all map[string]float64
	bank.Eventually(t, func() error {
		_, all = bank.Scrape(t, s.Paiement)
		if read := all[`kafka_messages_consumed_total{service="paiement",topic="orders.created"}`]; read != float64(n) {
			return fmt.Errorf("%v orders read, want %d", read, n)
		}
		return nil
	})
	return all
}

// A reset reads again what was purged and what waits among the dead letters, and
// has neither decided: the one never will be, the other once it is replayed.
func TestAPurgeSurvivesAReset(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--paiement-error-rate", "1", "--log-level", "error")
	failures(t, s, 2)
	mustDLQ(t, s.Brokers, "purge", "--yes", "--order", "order-1")
	s.Program.Stop()
	mustReset(t, data)
	s = bank.Start(t, data, "--log-level", "error")
	all := consumed(t, s, 2)
	if same := all[`kafka_duplicates_total{service="paiement",topic="orders.created"}`]; same != 2 {
		t.Errorf("%v known orders, want the purged one and the one that waits", same)
	}
	mustDLQ(t, s.Brokers, "replay", "--order", "order-2")
	s.Decided(t, "order-2")
	failed(t, s, "order-1")
	s.Settled(t, 1)
	if got := recordsOn(t, s.Brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); got != 1 {
		t.Errorf("%d decisions published, want 1", got)
	}
}

// Where the decisions were cut from the topics before the orders, the ledger
// still knows them after a reset. Where it is lost too, these orders are not decided
// anew, unless paiement is told to.
func TestWhatAResetCannotKnowIsNotDecidedAgain(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error")
	const n = 9
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	s.Settled(t, n)
	lost := cut(t, s.Brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected)
	s.Program.Stop()
	mustReset(t, data)
	s = bank.Start(t, data, "--log-level", "error", "--paiement-reject-rate", "1") // the authoriser has another mind
	if same := consumed(t, s, n)[`kafka_duplicates_total{service="paiement",topic="orders.created"}`]; same != n {
		t.Errorf("%v of %d orders are known", same, n)
	}
	s.Program.Stop()
	if err := os.RemoveAll(filepath.Join(data, "paiement")); err != nil {
		t.Fatal(err)
	}
	question := bank.Launch(t, "reset", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-question.Done
	for _, want := range []string{"no ledger that could be read", "will be set aside as too_old"} {
		if !strings.Contains(question.Stdout.String(), want) {
			t.Errorf("the question does not say %q:\n%s", want, question.Stdout)
		}
	}
	mustReset(t, data)

	s = bank.Start(t, data, "--log-level", "error", "--paiement-reject-rate", "1")
	all := consumed(t, s, n)
	old, same := all[`kafka_dead_letters_total{reason="too_old",service="paiement",topic="orders.created"}`], all[`kafka_duplicates_total{service="paiement",topic="orders.created"}`]
	if old != float64(lost) || same != float64(n-lost) {
		t.Errorf("of %d orders %v are too old and %v known, want %d whose decisions are gone", n, old, same, lost)
	}
	s.Decided(t, s.MustOrder(t, "1").OrderID) // of the time after
	s.Settled(t, int64(n-lost+1))
	s.Program.Stop()

	s = bank.Start(t, data, "--log-level", "error", "--decide-from", "all")
	if out := mustDLQ(t, s.Brokers, "replay", "--reason", "too_old"); !strings.HasPrefix(out, fmt.Sprintf("replayed %d,", lost)) {
		t.Errorf("replay says %q", out)
	}
	s.Settled(t, n+1)
}

// A topic of decisions that was made again has nothing decided again, and the
// question says what is gone: also the keys, where commande's storage is.
func TestAResetAfterATopicWasReplaced(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	s := bank.Start(t, data, "--log-level", "error", "--paiement-reject-rate", "1")
	const n = 6
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	s.Settled(t, n)
	consumed(t, s, n)
	s.Program.Stop()
	replaceIn(t, data, banking.TopicPaymentsRejected)
	lose(t, data, "commande")
	question := bank.Launch(t, "reset", "--data", data, "--broker-addr", "127.0.0.1:0")
	<-question.Done
	for _, want := range []string{
		"This clears what suivi, analyseur and sentinelle have stored", "Not those that the services began with: payments.rejected.", "The ledger has all of it, so nothing is decided again",
		"commande's storage is new: which idempotency keys were used is lost.",
	} {
		if !strings.Contains(question.Stdout.String(), want) {
			t.Errorf("the question does not say %q:\n%s", want, question.Stdout)
		}
	}
	if strings.Contains(question.Stdout.String(), "too_old") {
		t.Errorf("the question threatens with what will not be:\n%s", question.Stdout)
	}
	mustReset(t, data)
	s = bank.Start(t, data, "--log-level", "error", "--paiement-reject-rate", "0")
	if same := consumed(t, s, n)[`kafka_duplicates_total{service="paiement",topic="orders.created"}`]; same != n {
		t.Errorf("%v of %d orders are known", same, n)
	}
	if got := recordsOn(t, s.Brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); got != 0 {
		t.Errorf("%d decisions published, want none", got)
	}
	bank.Eventually(t, func() error { // sentinelle too began anew, on the topics that there are
		_, all := bank.Scrape(t, s.URLs["sentinelle"])
		counted := 0.0
		for _, outcome := range journeys.Outcomes() {
			counted += all[fmt.Sprintf(`%s{outcome=%q,service="sentinelle"}`, journeys.JourneysTotal, outcome)]
		}
		if counted != n {
			return fmt.Errorf("%v journeys, want %d", counted, n)
		}
		return nil
	})
	s.Program.Stop()

	// It is replaced once more, all storages that were made for it are lost, and nobody
	// resets: the group's offsets alone know that there were decisions.
	replaceIn(t, data, banking.TopicPaymentsRejected)
	lose(t, data, "paiement", "suivi", "analyseur", "sentinelle")
	s = bank.Start(t, data, "--log-level", "error", "--paiement-reject-rate", "0")
	if old := consumed(t, s, n)[`kafka_dead_letters_total{reason="too_old",service="paiement",topic="orders.created"}`]; old != n {
		t.Errorf("%v of %d orders are too old", old, n)
	}
	if got := recordsOn(t, s.Brokers, banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected); got != 0 {
		t.Errorf("%d decisions published, want none", got)
	}
	s.Decided(t, s.MustOrder(t, "1").OrderID) // of the time after
}

// lose removes services' storages.
func lose(t *testing.T, data string, services ...string) {
	t.Helper()
	for _, name := range services {
		if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// replaceIn replaces a topic of a stopped system.
func replaceIn(t *testing.T, data, topic string) {
	t.Helper()
	broker := bank.Launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	replace(t, broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1], topic)
	if status := broker.Stop(); status != 0 {
		t.Fatalf("the broker ends with %d: %s", status, broker.Stderr)
	}
}

// replace deletes a topic and makes it again.
func replace(t *testing.T, brokers, topic string) {
	t.Helper()
	client, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{brokers}, Patience: bank.Patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(admin.DeleteTopic(topic), admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: banking.Partitions, ReplicationFactor: 1}, false)); err != nil {
		t.Fatal(err)
	}
}

// cut deletes all but the last record of each partition, as retention may, and
// returns how many that were.
func cut(t *testing.T, brokers string, topics ...string) (deleted int) {
	t.Helper()
	client, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{brokers}, Patience: bank.Patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	spans, err := kafka.Bounds(t.Context(), client, topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		if s.End-s.Start < 2 {
			continue
		}
		if err := admin.DeleteRecords(s.Topic, map[int32]int64{s.ID: s.End - 1}); err != nil {
			t.Fatal(err)
		}
		deleted += int(s.End - 1 - s.Start)
	}
	return deleted
}
