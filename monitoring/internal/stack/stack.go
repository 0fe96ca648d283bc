//go:build unix

package stack

import (
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
	"github.com/vigie-dev/vigie/monitoring/internal/servers"
)

// Stack is the running stack. It ends with the test that started it.
type Stack struct {
	Kafka        *servers.Kafka
	JMXExporter  *servers.Server
	NodeExporter *servers.Server
	Alertmanager *servers.Server
	Prometheus   *servers.Server
	// System is `vigie up`, all services in one process.
	System *process.Process
	// Sink is `vigie alerts`; its output has a JSON object per alert.
	Sink *process.Process
	// Services maps each service to its address, host:port.
	Services map[string]string
	// Binary is the vigie command.
	Binary string
	// Folder holds the configuration that is in use: prometheus.yml and rules/
	// as shipped, targets/ with the addresses of this run.
	Folder string
}

// Start starts the stack and a steady load. folder is the repository's folder
// monitoring.
func Start(t testing.TB, folder string) *Stack {
	t.Helper()
	// What is missing is told before anything is started.
	for _, program := range []string{servers.Prometheus, servers.Alertmanager, servers.NodeExporter} {
		servers.Require(t, program)
	}
	binary := build(t, folder)
	s := &Stack{Kafka: servers.StartKafka(t), Binary: binary}
	s.System, s.Services = startSystem(t, binary, s.Kafka.Address)
	sink, sinkAddress := startSink(t, binary)
	s.Sink = sink
	c := configure(t, folder, s, sinkAddress)
	s.Folder = c.folder
	s.JMXExporter = servers.StartJMXExporter(t, c.exporter, c.path("kafka.yml"))
	s.NodeExporter = servers.StartNodeExporter(t, c.node)
	s.Alertmanager = servers.StartAlertmanager(t, c.alertmanager, c.path("alertmanager.yml"))
	startLoad(t, s.Services)
	s.Prometheus = servers.StartPrometheus(t, c.prometheus, c.path("prometheus.yml"))
	return s
}
