package services_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/service"
	"github.com/vigie-dev/vigie/internal/storage"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
)

// patience is how long a test waits for what should happen at once.
const patience = 3 * time.Minute

// bank is the four services in this process, on one broker and one folder.
type bank struct {
	settings service.Settings
	urls     map[string]string
	services map[string]*service.Service
	stop     func()
}

// startBank starts the services with clocks that are set by so much.
func startBank(t *testing.T, settings service.Settings, set time.Duration) *bank {
	t.Helper()
	system := storage.SystemClocks()
	settings.Clocks = func() storage.Instant {
		now := system()
		now.Wall = now.Wall.Add(set)
		return now
	}
	b := &bank{settings: settings, urls: map[string]string{}, services: map[string]*service.Service{}}
	b.stop = func() {
		for _, s := range b.services {
			if err := s.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
		clear(b.services)
	}
	t.Cleanup(func() { b.stop() })
	for name, start := range map[string]func() (*service.Service, error){
		commande.Name:  func() (*service.Service, error) { return commande.Start(t.Context(), settings, commande.Config{}) },
		paiement.Name:  func() (*service.Service, error) { return paiement.Start(t.Context(), settings, paiement.Config{}) },
		suivi.Name:     func() (*service.Service, error) { return suivi.Start(t.Context(), settings) },
		analyseur.Name: func() (*service.Service, error) { return analyseur.Start(t.Context(), settings) },
	} {
		s, err := start()
		if err != nil {
			t.Fatal(err)
		}
		b.services[name], b.urls[name] = s, s.URL()
	}
	return b
}

// get waits until an answer has a text.
func (b *bank) get(t *testing.T, service, path, want string) {
	t.Helper()
	var body string
	for began := time.Now(); time.Since(began) < patience; {
		body = b.ask(t, http.MethodGet, service, path, "")
		if strings.Contains(body, want) {
			return
		}
	}
	t.Fatalf("%s%s has no %q:\n%s", service, path, want, body)
}

func (b *bank) ask(t *testing.T, method, service, path, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.urls[service]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Idempotency-Key", `"k"`)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// knows checks that every service still has what it knew of the one order.
func (b *bank) knows(t *testing.T, order string) {
	t.Helper()
	if again := b.ask(t, http.MethodPost, commande.Name, "/orders", oneOrder); again != order {
		t.Errorf("under its key the order is now %s, was %s", again, order)
	}
	id := idOf(t, order)
	b.get(t, suivi.Name, "/orders/"+id+"/status", "PAYMENT_AUTHORIZED")
	b.get(t, analyseur.Name, "/recent-transactions", id)
	reader, err := storage.OpenReadOnly(t.Context(), b.settings.DatabaseURL, paiement.Name)
	if err != nil {
		t.Fatal(err)
	}
	decided := 0
	err = reader.Snapshot(t.Context(), func(s *storage.Snapshot) error {
		return paiement.ReadLedger(t.Context(), s, func(paiement.LedgerRow) error { decided++; return nil })
	})
	if err := errors.Join(err, reader.Close()); err != nil || decided != 1 {
		t.Errorf("the ledger has %d decisions, %v", decided, err)
	}
}

const oneOrder = `{"userId":"user-1","amount":10.50}`

func idOf(t *testing.T, order string) string {
	t.Helper()
	var placed struct {
		OrderID string `json:"orderId"`
	}
	if err := json.Unmarshal([]byte(order), &placed); err != nil || placed.OrderID == "" {
		t.Fatalf("%s: %v", order, err)
	}
	return placed.OrderID
}

// A start with a clock that is 91 days ahead takes nothing away, in no service,
// and tells; nor does the start after it, with the clock set back.
func TestAClockThatIsAheadTakesNothingAway(t *testing.T) {
	cfg, _ := testkafka.Embedded(t)
	settings := service.Settings{
		Address: "127.0.0.1:0", Brokers: cfg.Brokers, DatabaseURL: "sqlite:" + t.TempDir(),
		LogWriter: io.Discard, LogLevel: slog.LevelError,
	}
	b := startBank(t, settings, 0)
	order := b.ask(t, http.MethodPost, commande.Name, "/orders", oneOrder)
	id := idOf(t, order)
	b.get(t, suivi.Name, "/orders/"+id+"/status", "PAYMENT_AUTHORIZED")
	b.get(t, analyseur.Name, "/recent-transactions", id)
	b.stop()
	const step = 91 * 24 * time.Hour
	for _, tt := range []struct {
		set       time.Duration
		direction string
	}{{step, "forward"}, {0, "backward"}} {
		b = startBank(t, settings, tt.set)
		for name := range b.urls {
			// The first look at the clock is also the first round of removing.
			b.get(t, name, "/metrics", fmt.Sprintf(`clock_steps_total{direction="%s",service="%s"} 1`, tt.direction, name))
			b.get(t, name, "/metrics", fmt.Sprintf(`storage_pruned_rows_total{service="%s"} 0`, name))
		}
		b.knows(t, order)
		b.stop()
	}
}

// A database that is damaged while a service runs ends it, and the error names
// the damage: waiting does not fix it.
func TestADamagedStorageEndsItsService(t *testing.T) {
	cfg, _ := testkafka.Embedded(t)
	folder := t.TempDir()
	b := startBank(t, service.Settings{
		Address: "127.0.0.1:0", Brokers: cfg.Brokers, DatabaseURL: "sqlite:" + folder, LogWriter: io.Discard, LogLevel: slog.LevelError,
	}, 0)
	id := idOf(t, b.ask(t, http.MethodPost, commande.Name, "/orders", oneOrder))
	b.get(t, suivi.Name, "/orders/"+id+"/status", "PAYMENT_AUTHORIZED")
	damage(t, filepath.Join(folder, suivi.Name, suivi.Name+".db"))
	publisher, err := kafka.NewPublisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(publisher.Publish(t.Context(), kafka.Outgoing(record.Message{Topic: banking.TopicOrdersCreated, Key: []byte(id)})), publisher.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case err := <-b.services[suivi.Name].Failed():
		if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), id) {
			t.Errorf("suivi ended with %v", err)
		}
	case <-ctx.Done():
		t.Error("suivi goes on")
	}
}

// damage changes what suivi has stored behind its back.
func damage(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "UPDATE orders SET events = '{'")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
