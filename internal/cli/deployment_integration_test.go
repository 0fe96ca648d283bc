//go:build integration

package cli

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// stopPatience is how long services as processes may take to stop; they give
// up after stopTimeout.
const stopPatience = 2 * stopTimeout

// deployments of `make test-integration`: a process for each service.
func deployments() map[string]func(testing.TB) deployment {
	return map[string]func(testing.TB) deployment{
		"processes on the embedded broker": onEmbedded,
		"processes on real Kafka":          onKafka,
	}
}

// onEmbedded has the broker in the data folder, stopped and started with the
// services.
func onEmbedded(t testing.TB) deployment {
	t.Helper()
	binary := vigieBinary(t)
	return func(t testing.TB, data string, args ...string) *system {
		t.Helper()
		broker, err := testsystem.StartEmbedded(t.Context(), binary, data, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(broker.Kill)
		s, _ := startProcesses(t, testsystem.Config{Binary: binary, Brokers: broker.Address(), Data: data}, broker.Stop, args)
		return s
	}
}

// onKafka has one broker for the test, which stays while services come and go.
func onKafka(t testing.TB) deployment {
	t.Helper()
	binary, broker := vigieBinary(t), testkafka.Start(t)
	return func(t testing.TB, data string, args ...string) *system {
		t.Helper()
		s, _ := startProcesses(t, testsystem.Config{Binary: binary, Brokers: broker.Address(), Data: data}, nil, args)
		return s
	}
}

// startProcesses starts the services and makes one program of them, whose stop
// is theirs and then the broker's, if any.
func startProcesses(t testing.TB, cfg testsystem.Config, stopBroker func() error, args []string) (*system, *testsystem.System) {
	t.Helper()
	p := &program{stdout: newOutput(), stderr: newOutput(), done: make(chan struct{})}
	cfg.Logs, cfg.Stderr = t.TempDir(), p.stderr
	cfg.Flags = append([]string{"--paiement-latency", "1ms"}, args...)
	services, err := testsystem.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(services.Close)
	if err := services.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	p.cancel = func() {
		once.Do(func() {
			defer close(p.done)
			ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
			defer cancel()
			status, err := services.Stop(ctx)
			if stopBroker != nil {
				err = errors.Join(err, stopBroker())
			}
			if err != nil {
				t.Error(err)
			}
			p.status = status
		})
	}
	t.Cleanup(func() { p.stop() })
	s := &system{program: p, brokers: cfg.Brokers}
	for name, url := range map[string]*string{"commande": &s.commande, "suivi": &s.suivi, "analyseur": &s.analyseur, "paiement": &s.paiement} {
		*url = services.URL(name)
	}
	s.expectContracts(t)
	return s, services
}

// built is the vigie command, built once for the tests that run it as a
// process of its own.
var built = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := os.MkdirAll(buildFolder(), 0o750); err != nil {
		return "", err
	}
	return testsystem.Build(ctx, buildFolder())
})

func vigieBinary(t testing.TB) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
