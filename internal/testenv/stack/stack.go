//go:build unix

// Package stack runs everything that docker-compose.yml runs, but natively:
// Kafka with its JMX exporter, the services under load, the node exporter,
// Alertmanager with the sink that logs, and Prometheus, all on the shipped
// configuration; and, apart from these, what the profile tracing adds. Tests
// check on it that what is shipped works. Only tests use it.
//
//   - stack.go has the stack without tracing, and queries Prometheus.
//   - tracing.go has the services that send traces, the Collector and Jaeger.
//   - orders.go places orders on either.
package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/kafka"
	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
	"github.com/vigie-dev/vigie/internal/testenv/servers"
	"github.com/vigie-dev/vigie/internal/testenv/system"
)

// Stack is the running stack. It ends with the test that started it.
type Stack struct {
	Kafka        *kafka.Broker
	JMXExporter  *servers.Server
	NodeExporter *servers.Server
	Alertmanager *servers.Server
	Prometheus   *servers.Server
	// System is `vigie up`, all services in one process.
	System *system.Program
	// Sink is `vigie alerts`, whose log has a JSON object per alert.
	Sink *system.Program
	// Services maps each service to its address, host:port.
	Services map[string]string
	// Binary is the vigie command.
	Binary string
}

// Start starts the stack and a steady load.
func Start(t testing.TB) *Stack {
	t.Helper()
	// What is missing shows before anything is started.
	for _, program := range []string{servers.Prometheus, servers.Alertmanager, servers.NodeExporter} {
		servers.Require(t, program)
	}
	kafka.Require(t)
	s := &Stack{Binary: build(t)}
	var jmx string
	s.Kafka, jmx = kafka.StartMonitored(t)
	var err error
	logs := t.TempDir()
	s.System, s.Services, err = system.NewUp(system.Config{
		Binary: s.Binary, Brokers: s.Kafka.Address(), Data: t.TempDir(), Logs: logs, Flags: patient(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.System.Run(t)
	sink := proc.Address(t)
	s.Sink = system.NewProgram(s.Binary, logs, "alerts", regexp.MustCompile(`alerts are taken at`),
		"alerts", "--alerts-addr", sink, "--log-format", "json")
	s.Sink.Run(t)
	c := configure(t, s.Services, jmx, sink)
	s.JMXExporter = servers.StartJMXExporter(t, c.exporter, c.path("kafka.yml"))
	s.NodeExporter = servers.StartNodeExporter(t, c.node)
	s.Alertmanager = servers.StartAlertmanager(t, c.alertmanager, c.path("alertmanager.yml"))
	startLoad(t, s.Services)
	s.Prometheus = servers.StartPrometheus(t, c.prometheus, c.path("prometheus.yml"))
	return s
}

// build builds the vigie command.
func build(t testing.TB) string {
	t.Helper()
	binary, err := system.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// patient has services wait for Kafka as long as a loaded machine takes.
func patient() []string { return []string{"--kafka-patience", "2m"} }

// configuration is the shipped one with this run's addresses.
type configuration struct {
	folder                                   string
	prometheus, alertmanager, exporter, node string // addresses
}

func (c *configuration) path(name string) string { return filepath.Join(c.folder, name) }

// configure stages the configuration: Prometheus's files byte for byte, with
// targets of this run, and the two others with one address replaced, for they
// cannot take it from a file.
func configure(t testing.TB, services map[string]string, jmx, sink string) *configuration {
	t.Helper()
	free, err := proc.FreeAddresses(4)
	if err != nil {
		t.Fatal(err)
	}
	c := &configuration{t.TempDir(), free[0], free[1], free[2], free[3]}
	c.stagePrometheus(t)
	stage(t, shipped(t, "alertmanager.yml"), c.path("alertmanager.yml"), [2]string{"alert-sink:3099", sink})
	stage(t, shipped(t, "jmx/kafka.yml"), c.path("kafka.yml"), [2]string{"kafka:1099", jmx})
	write(t, c.path("targets/stack/kafka.yml"), target(c.exporter, ""))
	write(t, c.path("targets/stack/node.yml"), target(c.node, ""))
	write(t, c.path("targets/stack/prometheus.yml"), target(c.prometheus, ""))
	write(t, c.path("targets/stack/alertmanager.yml"), target(c.alertmanager, ""))
	c.writeServices(t, services)
	return c
}

// shipped is the path of a file or folder of monitoring/.
func shipped(t testing.TB, name string) string {
	t.Helper()
	return repo.Path(t, "monitoring", filepath.FromSlash(name))
}

// stagePrometheus copies Prometheus's configuration and the rules.
func (c *configuration) stagePrometheus(t testing.TB) {
	t.Helper()
	stage(t, shipped(t, "prometheus.yml"), c.path("prometheus.yml"))
	rules, err := filepath.Glob(filepath.Join(shipped(t, "rules"), "*.yml"))
	if err != nil || len(rules) == 0 {
		t.Fatalf("find rules: %d files, %v", len(rules), err)
	}
	for _, rule := range rules {
		stage(t, rule, c.path(filepath.Join("rules", filepath.Base(rule))))
	}
}

// writeServices has Prometheus scrape the services.
func (c *configuration) writeServices(t testing.TB, addresses map[string]string) {
	t.Helper()
	var all strings.Builder
	for name, address := range addresses {
		all.WriteString(target(address, name))
	}
	write(t, c.path("targets/services/services.yml"), all.String())
}

// target is an entry of a file of targets.
func target(address, service string) string {
	entry := fmt.Sprintf("- targets: ['%s']\n", address)
	if service != "" {
		entry += fmt.Sprintf("  labels: {service: %s}\n", service)
	}
	return entry
}

// stage copies a file and replaces texts in it, which must be there.
func stage(t testing.TB, from, to string, replacements ...[2]string) {
	t.Helper()
	text, err := os.ReadFile(from) //nolint:gosec // of the repository
	if err != nil {
		t.Fatal(err)
	}
	for _, replace := range replacements {
		if !bytes.Contains(text, []byte(replace[0])) {
			t.Fatalf("%s does not name %s", from, replace[0])
		}
		text = bytes.ReplaceAll(text, []byte(replace[0]), []byte(replace[1]))
	}
	write(t, to, string(text))
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // below the test's own folder
		t.Fatal(err)
	}
}

// Sample is one series of an instant query's answer.
type Sample struct {
	Metric map[string]string
	// Value is a time and a number, the latter as text.
	Value [2]any
}

// Query returns the value of an expression now, from Prometheus. An answer without
// series is no error.
func (s *Stack) Query(ctx context.Context, expression string) ([]Sample, error) {
	return query(ctx, s.Prometheus, expression)
}

// API reads the data of an answer of Prometheus's HTTP API.
func (s *Stack) API(ctx context.Context, path string, data any) error {
	return queryPrometheus(ctx, s.Prometheus, path, data)
}

func query(ctx context.Context, prometheus *servers.Server, expression string) ([]Sample, error) {
	var answer struct {
		Result []Sample
	}
	if err := queryPrometheus(ctx, prometheus, "/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	return answer.Result, nil
}

func queryPrometheus(ctx context.Context, prometheus *servers.Server, path string, data any) error {
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := Get(ctx, prometheus.URL(path), &answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("GET %s: %s", path, answer.Error)
	}
	return nil
}

// Get reads an answer in JSON, whatever its status.
func Get(ctx context.Context, url string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	request.Close = true // no connection stays when the test ends
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("read answer of %s, %s: %w", url, response.Status, err)
	}
	return nil
}
