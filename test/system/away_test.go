//go:build !race || whole

package system_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// Kafka goes away and comes back: orders are answered with 503, readiness says
// why, and everything goes on without a restart.
func TestKafkaGoesAwayAndComesBack(t *testing.T) {
	bank.Parallel(t)
	log := t.TempDir()
	broker := bank.Launch(t, "broker", "--data", log, "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	s := bank.Start(t, t.TempDir(), "--kafka-brokers", address, "--commande-ack-timeout", "10s", "--log-level", "error")
	bank.Eventually(t, func() error { // the first may take a slow machine more than the ten seconds
		if status, _, err := s.Order("user123", "10"); err != nil || status != http.StatusCreated {
			return fmt.Errorf("POST /orders = %d, %w", status, err)
		}
		return nil
	})
	s.Decided(t, "order-1") // suivi has it too
	if status := broker.Stop(); status != 0 {
		t.Fatalf("broker's exit status %d", status)
	}

	response, err := http.Post(s.Commande+"/orders", "application/json", strings.NewReader(`{"userId":"user123","amount":20}`))
	if err != nil {
		t.Fatal(err)
	}
	var p httpapi.Problem
	if err := errors.Join(json.NewDecoder(response.Body).Decode(&p), response.Body.Close()); err != nil {
		t.Error(err)
	}
	if p.Type != httpapi.UnknownOutcome || response.StatusCode != p.Status || response.Header.Get("Retry-After") == "" ||
		response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("POST /orders without Kafka = %d %+v, headers %v", response.StatusCode, p, response.Header)
	}
	if _, all := bank.Scrape(t, s.Commande); all[`orders_total{service="commande"}`] != 1 {
		t.Errorf("orders_total = %v after an unacknowledged order", all[`orders_total{service="commande"}`])
	}
	outside := services.All().Outside().Names() // what only looks on is ready all the same
	for name, url := range s.URLs {
		bank.Eventually(t, func() error {
			status, body := bank.Get(t, url+"/health/ready")
			if ready := status == http.StatusOK; ready != slices.Contains(outside, name) || !ready && !strings.Contains(body, "kafka") {
				return fmt.Errorf("readiness of %s without Kafka = %d: %s", name, status, body)
			}
			return nil
		})
		if status, _ := bank.Get(t, url+"/health"); status != http.StatusOK {
			t.Errorf("%s is not alive without Kafka: %d", name, status)
		}
	}
	if status, _ := bank.Get(t, s.Suivi+"/orders/order-1/status"); status != http.StatusOK {
		t.Errorf("suivi answers %d without Kafka", status)
	}

	again := bank.Launch(t, "broker", "--data", log, "--broker-addr", address)
	again.Stdout.Wait(t, `listens on (\S+)`, again.Done)
	var last bank.Placed
	bank.Eventually(t, func() error {
		status, p, err := s.Order("user123", "30")
		last = p
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("POST /orders with Kafka back = %d, %w", status, err)
		}
		return nil
	})
	s.Decided(t, last.OrderID)
	for name, url := range s.URLs {
		bank.Eventually(t, func() error {
			if status, body := bank.Get(t, url+"/health/ready"); status != http.StatusOK {
				return fmt.Errorf("readiness of %s with Kafka back = %d: %s", name, status, body)
			}
			return nil
		})
	}
}

// Who is told to stop while it starts stops, and that is no failure.
func TestAStopDuringTheStart(t *testing.T) {
	bank.Parallel(t)
	for _, args := range [][]string{
		{"paiement", "--paiement-addr", "127.0.0.1:0"}, append([]string{"up"}, bank.FreePorts(services.All())[1:]...),
	} {
		// Nobody answers there, and the start is patient.
		p := bank.Launch(t, append(args, "--data", t.TempDir(), "--kafka-brokers", "127.0.0.1:1", "--kafka-patience", "1h")...)
		if status := p.Stop(); status != 0 || p.Stderr.String() != "" {
			t.Errorf("%s = %d: %s", args[0], status, p.Stderr)
		}
	}
}
