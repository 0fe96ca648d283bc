//go:build integration && unix

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/embedded/prometheus"
	"github.com/vigie-dev/vigie/internal/lifecycle"
	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/internal/testenv/system"
	"github.com/vigie-dev/vigie/monitoring"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/sentinelle"
)

// world is a running system with its load.
type world struct {
	binary, data, logs string
	commande, page     string // URLs
	prometheus         string
	client             *http.Client
	load               *load

	// Of a system in one process.
	up *system.Program
	// Of a system in processes of their own.
	broker     *system.Embedded
	system     *system.System
	sentinelle *system.Program
	monitoring *monitor
}

const (
	clients   = 4
	perClient = 400 * time.Millisecond // ten orders a second in all
	startTime = 3 * time.Minute
)

func newWorld(t *testing.T, binary string) *world {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	w := &world{binary: binary, data: t.TempDir(), logs: t.TempDir(), client: &http.Client{Transport: transport}}
	t.Cleanup(transport.CloseIdleConnections)
	return w
}

// inOne is `vigie up`.
func inOne(t *testing.T, binary string) *world {
	t.Helper()
	w := newWorld(t, binary)
	names := services.All().Names()
	free, err := proc.FreeAddresses(len(names) + 2)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	args := []string{"up", "--data", w.data, "--broker-addr", free[0], "--prometheus-addr", free[1]}
	for i, name := range names {
		at[name] = "http://" + free[i+2]
		args = append(args, "--"+name+"-addr", free[i+2])
	}
	w.commande, w.page, w.prometheus = at[system.Commande], at[sentinelle.Name], "http://"+free[1]
	w.up = system.NewProgram(binary, w.logs, "up", regexp.MustCompile(`Vigie is up`), args...)
	w.up.Run(t)
	w.place(t)
	return w
}

// inMany is a process for the broker and each service, and a Prometheus.
func inMany(t *testing.T, binary string) *world {
	t.Helper()
	w := newWorld(t, binary)
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	var err error
	if w.broker, err = system.StartEmbedded(ctx, binary, w.data, w.logs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.broker.Kill)
	if w.system, err = system.New(system.Config{Binary: binary, Brokers: w.broker.Address(), Data: w.data, Logs: w.logs}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.system.Close)
	if err := w.system.Start(ctx); err != nil {
		t.Fatal(err)
	}
	free, err := proc.FreeAddresses(2)
	if err != nil {
		t.Fatal(err)
	}
	w.commande, w.page, w.prometheus = w.system.URL(system.Commande), "http://"+free[0], "http://"+free[1]
	var peers []string
	for _, name := range system.Services() {
		peers = append(peers, name+"="+w.system.URL(name))
	}
	w.sentinelle = system.NewProgram(binary, w.logs, sentinelle.Name, regexp.MustCompile(`sentinelle answers at`),
		sentinelle.Name, "--data", w.data, "--kafka-brokers", w.broker.Address(), "--sentinelle-addr", free[0],
		"--sentinelle-peers", strings.Join(peers, ","), "--prometheus-url", w.prometheus)
	w.sentinelle.Run(t)
	w.monitoring = &monitor{address: free[1], dir: filepath.Join(w.data, prometheus.Name), targets: []prometheus.Target{{Service: sentinelle.Name, URL: w.page}}}
	for _, name := range system.Services() {
		w.monitoring.targets = append(w.monitoring.targets, prometheus.Target{Service: name, URL: w.system.URL(name)})
	}
	if err := w.monitoring.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.monitoring.stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.place(t)
	return w
}

// monitor is the shipped monitoring, beside what it watches.
type monitor struct {
	address, dir string
	targets      []prometheus.Target
	server       *prometheus.Server
}

func (m *monitor) start(ctx context.Context) (err error) {
	m.server, err = prometheus.Start(ctx, prometheus.Config{Address: m.address, Dir: m.dir, Files: monitoring.Files})
	if err != nil {
		return err
	}
	return m.server.Scrape(m.targets)
}

func (m *monitor) stop(ctx context.Context) error { return m.server.Stop(ctx) }

// load is orders that clients place all the time, whatever becomes of them.
type load struct {
	clients atomic.Int64 // that place orders
	wrong   atomic.Bool  // another client sends what is no order, as often
}

// place begins the load, which ends with the test.
func (w *world) place(t *testing.T) {
	t.Helper()
	w.load = &load{}
	w.load.clients.Store(clients)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for n := range int64(3 * clients) {
		all.Go(func() {
			for i := 0; lifecycle.Sleep(ctx, perClient) == nil; i++ {
				if n < w.load.clients.Load() {
					w.post(ctx, w.commande+"/orders", fmt.Sprintf(`{"userId":"user%d","amount":%d.50,"items":["item"]}`, i%50, 1+i*37%2000))
				}
				if n < clients && w.load.wrong.Load() {
					w.post(ctx, w.commande+"/orders", `{"userId":"user1","amount":-1}`)
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); all.Wait() })
}

func (w *world) post(ctx context.Context, url, body string) {
	_ = w.send(ctx, url, "application/json", body)
}

const answerTime = 30 * time.Second

// send posts something; an answer that is no success is an error.
func (w *world) send(ctx context.Context, url, kind, body string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", kind)
	request.Header.Set("Accept", "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = errors.New(response.Status + ": " + string(text))
	}
	return err
}

// vigie runs a subcommand on the system's data folder.
func (w *world) vigie(ctx context.Context, args ...string) error {
	p, err := proc.Start(proc.Spec{Name: args[0], Path: w.binary, Args: append(args, "--data", w.data)})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
	if p.Status() != 0 {
		return fmt.Errorf("vigie %v ends with %d: %s", args, p.Status(), p.Output())
	}
	return nil
}
