//go:build !race || whole

package system_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// place posts an order with headers, "name: value", and returns the trace that
// the answer names.
func place(t *testing.T, s *bank.Bank, body string, headers ...string) (status int, traceID string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Commande+"/orders", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(response.Header.Get(telemetry.TraceResponse), "-")
	if len(parts) != 4 || len(parts[1]) != 32 || len(parts[2]) != 16 {
		t.Fatalf("traceresponse %q", response.Header.Get(telemetry.TraceResponse))
	}
	return response.StatusCode, parts[1]
}

// mustPlace posts an order that has to be accepted.
func mustPlace(t *testing.T, s *bank.Bank) (traceID string) {
	t.Helper()
	status, traceID := place(t, s, `{"userId":"user123","amount":100.50,"items":["item1"]}`)
	if status != http.StatusCreated {
		t.Fatalf("POST /orders = %d", status)
	}
	return traceID
}

// seen waits until suivi and paiement have each stored one record of a topic since they
// started: both read the orders and their dead letters.
func seen(t *testing.T, s *bank.Bank, topics ...string) {
	t.Helper()
	bank.Eventually(t, func() error {
		for name, url := range map[string]string{suivi.Name: s.Suivi, paiement.Name: s.Paiement} {
			_, all := bank.Scrape(t, url)
			for _, topic := range topics {
				if got := all[fmt.Sprintf("kafka_messages_consumed_total{service=%q,topic=%q}", name, topic)]; got != 1 {
					return fmt.Errorf("%s has read %v records of %s, want 1", name, got, topic)
				}
			}
		}
		return nil
	})
}

// ended stops programs, which sends what spans they still hold.
func ended(t *testing.T, programs ...*bank.Command) {
	t.Helper()
	for _, p := range programs {
		if status := p.Stop(); status != 0 {
			t.Errorf("exit status %d: %s", status, p.Stderr)
		}
	}
}

// story checks an order's trace against a file.
func story(t *testing.T, c *collector, traceID, file string) {
	t.Helper()
	telemetrytest.Golden(t, filepath.Join("trees", file), newForest(c.spans(t)).story(traceID))
}

// noJourneys keeps sentinelle's spans out of the stories: it reads when it will, and only links to them.
const noJourneys = "--sentinelle-bank=off"

// The whole story of an order that is decided, or set aside.
func TestTraceTrees(t *testing.T) {
	for file, tt := range map[string]struct {
		flag, status string
	}{
		"authorised.golden":    {"--paiement-reject-rate=0", "PAYMENT_AUTHORIZED"},
		"rejected.golden":      {"--paiement-reject-rate=1", "PAYMENT_REJECTED"},
		"dead-lettered.golden": {"--paiement-error-rate=1", "PAYMENT_FAILED"},
	} {
		t.Run(file, func(t *testing.T) {
			c := &collector{}
			switchOn(t, c)
			s := bank.Start(t, t.TempDir(), noJourneys, tt.flag, "--log-level=error")
			traceID := mustPlace(t, s)
			if tt.status == "PAYMENT_FAILED" {
				failed(t, s, "order-1")
				seen(t, s, banking.TopicOrdersCreated, banking.TopicOrdersDLQ)
			} else if got := s.Decided(t, "order-1"); got.Status != tt.status {
				t.Errorf("order-1 is %s", got.Status)
			} else {
				s.Settled(t, 1)
			}
			ended(t, s.Program)
			story(t, c, traceID, file)
		})
	}
}

// A replay, by another process and after a restart, goes on in the order's
// trace, to its end.
func TestTraceTreeOfAReplay(t *testing.T) {
	c := &collector{}
	switchOn(t, c)
	data := t.TempDir()
	s := bank.Start(t, data, noJourneys, "--paiement-error-rate=1", "--log-level=error")
	traceID := mustPlace(t, s)
	failed(t, s, "order-1")
	seen(t, s, banking.TopicOrdersCreated, banking.TopicOrdersDLQ)
	ended(t, s.Program)
	s = bank.Start(t, data, noJourneys, "--paiement-reject-rate=0", "--log-level=error")
	mustDLQ(t, s.Brokers, "replay", "--all-letters")
	s.Decided(t, "order-1")
	s.Settled(t, 1)
	seen(t, s, banking.TopicOrdersCreated, banking.TopicOrdersDLQ) // the replayed record, and the letter's marker
	ended(t, s.Program)
	story(t, c, traceID, "replayed.golden")
}

// parts is the system as programs of their own on one data folder, but for
// paiement, which a test runs itself.
type parts struct {
	*bank.Bank
	data     string
	programs []*bank.Command // services first, the broker last
}

func startParts(t *testing.T, data string, services ...string) *parts {
	t.Helper()
	broker := bank.Launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	p := &parts{&bank.Bank{Brokers: address}, data, nil}
	for _, name := range services {
		one := bank.LaunchService(t, name, "--data", data, "--kafka-brokers", address, "--log-level", "error")
		found := one.Stdout.Wait(t, `answers at (\S+)`, one.Done)
		if found == nil {
			t.Fatalf("vigie %s ended with %d: %s", name, one.Status, one.Stderr)
		}
		*map[string]*string{commande.Name: &p.Commande, suivi.Name: &p.Suivi, analyseur.Name: &p.Analyseur}[name] = found[1]
		p.programs = append(p.programs, one)
	}
	p.programs = append(p.programs, broker)
	return p
}

// startPaiement starts paiement with an authoriser; stop ends it.
func (p *parts) startPaiement(t *testing.T, authoriser paiement.Authoriser) (stop func()) {
	t.Helper()
	s, err := paiement.Start(t.Context(), service.Settings{
		Version: "test", Address: "127.0.0.1:0", Brokers: []string{p.Brokers}, DatabaseURL: "sqlite:" + p.data, LogWriter: io.Discard,
	}, paiement.Config{Authoriser: authoriser})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), bank.Patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}
}

// failsFirst is an authoriser whose first answers fail.
type failsFirst struct{ failures atomic.Int64 }

func (f *failsFirst) Authorise(context.Context, string, banking.Money) (paiement.Verdict, error) {
	if f.failures.Add(-1) >= 0 {
		return paiement.Verdict{}, errors.New("authoriser failed for user123")
	}
	return paiement.Verdict{Authorized: true, Code: "AUTH-1"}, nil
}

// An authoriser that fails once leaves its failed try in the order's trace.
func TestTraceTreeOfARetry(t *testing.T) {
	c := &collector{}
	switchOn(t, c)
	p := startParts(t, t.TempDir(), commande.Name, suivi.Name, analyseur.Name)
	authoriser := &failsFirst{}
	authoriser.failures.Store(1)
	stop := p.startPaiement(t, authoriser)
	traceID := mustPlace(t, p.Bank)
	p.Decided(t, "order-1")
	p.Settled(t, 1)
	stop()
	ended(t, p.programs...)
	story(t, c, traceID, "retried.golden")
}

// An order that waits in Kafka while everything is stopped and started again is
// one trace all the same: the very tree of an order that nothing happened to.
func TestTraceSurvivesARestart(t *testing.T) {
	c := &collector{}
	switchOn(t, c)
	data := t.TempDir()
	p := startParts(t, data, commande.Name, suivi.Name, analyseur.Name)
	p.startPaiement(t, &failsFirst{})()
	ended(t, p.programs[1], p.programs[2]) // nobody reads the order
	traceID := mustPlace(t, p.Bank)
	ended(t, p.programs[0], p.programs[3])
	if spans := c.spans(t); len(newForest(spans).byID) == 0 || strings.Contains(newForest(spans).story(traceID), "process") {
		t.Errorf("before the restart the order's trace is\n%s", newForest(spans).story(traceID))
	}
	p = startParts(t, data, suivi.Name, analyseur.Name)
	stop := p.startPaiement(t, &failsFirst{})
	p.Decided(t, "order-1")
	p.Settled(t, 1)
	stop()
	ended(t, p.programs...)
	story(t, c, traceID, "authorised.golden")
}
