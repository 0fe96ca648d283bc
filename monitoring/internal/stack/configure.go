//go:build unix

package stack

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configuration is the shipped one with this run's addresses.
type configuration struct {
	folder                                   string
	prometheus, alertmanager, exporter, node string // addresses
}

func (c *configuration) path(name string) string { return filepath.Join(c.folder, name) }

// configure stages the configuration: Prometheus's files byte for byte, with
// targets of this run, and the two others with one address replaced, for they
// cannot take it from a file.
func configure(t testing.TB, shipped string, s *Stack, sink string) *configuration {
	t.Helper()
	c := &configuration{folder: t.TempDir()}
	for _, address := range []*string{&c.prometheus, &c.alertmanager, &c.exporter, &c.node} {
		*address = freeAddress(t)
	}
	for name, replace := range map[string][][2]string{
		"prometheus.yml":   nil,
		"alertmanager.yml": {{"alert-sink:3099", sink}},
		"jmx/kafka.yml":    {{"kafka:1099", s.Kafka.JMX}},
	} {
		stage(t, filepath.Join(shipped, name), c.path(filepath.Base(name)), replace...)
	}
	c.stageRules(t, shipped)
	write(t, c.path("targets/stack/kafka.yml"), target(c.exporter, ""))
	write(t, c.path("targets/stack/node.yml"), target(c.node, ""))
	write(t, c.path("targets/stack/prometheus.yml"), target(c.prometheus, ""))
	write(t, c.path("targets/stack/alertmanager.yml"), target(c.alertmanager, ""))
	c.writeServices(t, s.Services)
	return c
}

func (c *configuration) stageRules(t testing.TB, shipped string) {
	t.Helper()
	rules, err := filepath.Glob(filepath.Join(shipped, "rules", "*.yml"))
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
