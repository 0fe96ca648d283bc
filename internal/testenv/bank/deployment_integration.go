//go:build integration

package bank

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

// StopPatience is how long services as processes may take to stop: they give up
// by themselves long before.
const StopPatience = 2 * time.Minute

// deployments of `make test-integration`: a process for each service.
func deployments() map[string]func(testing.TB) Deployment {
	return map[string]func(testing.TB) Deployment{
		"processes on the embedded broker": onEmbedded,
		"processes on real Kafka":          onKafka,
	}
}

// onEmbedded has the broker in the data folder, stopped and started with the
// services.
func onEmbedded(t testing.TB) Deployment {
	t.Helper()
	binary := Binary(t)
	return func(t testing.TB, data string, args ...string) *Bank {
		t.Helper()
		broker, err := testsystem.StartEmbedded(t.Context(), binary, data, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(broker.Kill)
		s, _ := StartProcesses(t, testsystem.Config{Binary: binary, Brokers: broker.Address(), Data: data}, broker.Stop, args)
		return s
	}
}

// onKafka has one broker for the test, which stays while services come and go.
func onKafka(t testing.TB) Deployment {
	t.Helper()
	binary, broker := Binary(t), testkafka.Start(t)
	return func(t testing.TB, data string, args ...string) *Bank {
		t.Helper()
		s, _ := StartProcesses(t, testsystem.Config{Binary: binary, Brokers: broker.Address(), Data: data}, nil, args)
		return s
	}
}

// StartProcesses starts the services and makes one program of them, whose stop
// is theirs and then the broker's, if any.
func StartProcesses(t testing.TB, cfg testsystem.Config, stopBroker func() error, args []string) (*Bank, *testsystem.System) {
	t.Helper()
	p := &Command{Stdout: newOutput(), Stderr: newOutput(), Done: make(chan struct{})}
	cfg.Logs, cfg.Stderr = t.TempDir(), p.Stderr
	cfg.Flags = append([]string{"--paiement-latency", "1ms", "--commande-ack-timeout", "1h", "--stop-timeout", "90s"}, args...)
	processes, err := testsystem.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(processes.Close)
	if err := processes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	p.Cancel = func() {
		once.Do(func() {
			defer close(p.Done)
			ctx, cancel := context.WithTimeout(context.Background(), StopPatience)
			defer cancel()
			status, err := processes.Stop(ctx)
			if stopBroker != nil {
				err = errors.Join(err, stopBroker())
			}
			if err != nil {
				t.Error(err)
			}
			p.Status = status
		})
	}
	t.Cleanup(func() { p.Stop() })
	urls := map[string]string{}
	for _, name := range testsystem.Services() {
		urls[name] = processes.URL(name)
	}
	s := At(p, cfg.Brokers, urls)
	s.ExpectContracts(t)
	return s, processes
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

// Binary is the vigie command, built the first time.
func Binary(t testing.TB) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
