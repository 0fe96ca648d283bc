package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// Kafka goes away and comes back: orders are answered with 503, readiness says
// why, and everything goes on without a restart.
func TestKafkaGoesAwayAndComesBack(t *testing.T) {
	log := t.TempDir()
	broker := launch(t, "broker", "--data", log, "--broker-addr", "127.0.0.1:0")
	address := broker.stdout.wait(t, `listens on (\S+)`, broker.done)[1]
	s := startSystem(t, t.TempDir(), "--kafka-brokers", address, "--commande-ack-timeout", "3s", "--log-level", "error")
	s.mustOrder(t, "10")
	s.settled(t, 1)
	s.decided(t, "order-1") // suivi has it too
	if status := broker.stop(); status != 0 {
		t.Fatalf("broker's exit status %d", status)
	}

	response, err := http.Post(s.commande+"/orders", "application/json", strings.NewReader(`{"userId":"user123","amount":20}`))
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
	if _, all := scrape(t, s.commande); all[`orders_total{service="commande"}`] != 1 {
		t.Errorf("orders_total = %v after an unacknowledged order", all[`orders_total{service="commande"}`])
	}
	for name, url := range s.services() {
		eventually(t, func() error {
			if status, body := get(t, url+"/health/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, "kafka") {
				return fmt.Errorf("readiness of %s without Kafka = %d: %s", name, status, body)
			}
			return nil
		})
		if status, _ := get(t, url+"/health"); status != http.StatusOK {
			t.Errorf("%s is not alive without Kafka: %d", name, status)
		}
	}
	if status, _ := get(t, s.suivi+"/orders/order-1/status"); status != http.StatusOK {
		t.Errorf("suivi answers %d without Kafka", status)
	}

	again := launch(t, "broker", "--data", log, "--broker-addr", address)
	again.stdout.wait(t, `listens on (\S+)`, again.done)
	var last placed
	eventually(t, func() error {
		status, p, err := s.order("user123", "30")
		last = p
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("POST /orders with Kafka back = %d, %w", status, err)
		}
		return nil
	})
	s.decided(t, last.OrderID)
	for name, url := range s.services() {
		eventually(t, func() error {
			if status, body := get(t, url+"/health/ready"); status != http.StatusOK {
				return fmt.Errorf("readiness of %s with Kafka back = %d: %s", name, status, body)
			}
			return nil
		})
	}
}
