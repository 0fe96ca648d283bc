//go:build unix

// Package servers brings the real servers that the monitoring is written for
// (Prometheus, Alertmanager, node exporter, JMX exporter, OpenTelemetry's
// Collector, Jaeger, Zipkin) to tests, without containers: built from their Go
// modules or taken from Maven Central once, into the user's cache folder. Only
// tests use it.
//
//   - servers.go starts them.
//   - build.go builds them, and says in which versions.
package servers

import (
	"context"
	_ "embed" // for the POMs
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

// startTimeout bounds a start on a loaded machine; usual are seconds.
const startTimeout = 3 * time.Minute

//go:embed jmx.xml
var jmxPOM []byte

//go:embed zipkin.xml
var zipkinPOM []byte

// Server is a running server.
type Server struct {
	*proc.Process
	// Address is where it answers, host:port.
	Address string
}

// URL is the address of a page of the server's, whose path begins with "/".
func (s *Server) URL(path string) string { return "http://" + s.Address + path }

// start starts a program and ends it with the test. The page is requested until
// it answers with 200.
func start(t testing.TB, address, page string, s proc.Spec) *Server {
	t.Helper()
	p := proc.StartFor(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := p.Await(ctx, func(ctx context.Context) error { return answers(ctx, page) }); err != nil {
		t.Fatal(err)
	}
	return &Server{p, address}
}

// answers checks that a page answers with 200.
func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Close = true // no connection stays when the test ends
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return err
}

// program says how a program that [Require] brings is started.
func program(t testing.TB, name string, args ...string) proc.Spec {
	t.Helper()
	return proc.Spec{Name: name, Path: Require(t, name), Args: args}
}

// jar says how the jar of a POM is started.
func jar(t testing.TB, name string, pom []byte, prefix string, args ...string) proc.Spec {
	t.Helper()
	java, err := proc.FindJava(t.Context(), name, pom)
	proc.Check(t, err)
	path, err := java.Jar(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return proc.Spec{Name: name, Path: java.Program, Args: append([]string{"-Xmx160m", "-jar", path}, args...)}
}

// StartPrometheus starts Prometheus with a configuration file, which may name
// its address: it is free beforehand.
func StartPrometheus(t testing.TB, address, config string) *Server {
	t.Helper()
	return StartPrometheusOn(t, address, config, t.TempDir())
}

// StartPrometheusOn is [StartPrometheus] with a folder of what was scraped before.
func StartPrometheusOn(t testing.TB, address, config, data string) *Server {
	t.Helper()
	return start(t, address, "http://"+address+"/-/ready", program(t, Prometheus,
		"--config.file="+config, "--storage.tsdb.path="+data, "--web.listen-address="+address,
		"--enable-feature=exemplar-storage", "--log.level=warn"))
}

// StartAlertmanager starts Alertmanager with a configuration file, alone.
func StartAlertmanager(t testing.TB, address, config string) *Server {
	t.Helper()
	return start(t, address, "http://"+address+"/-/ready", program(t, Alertmanager,
		"--config.file="+config, "--storage.path="+t.TempDir(), "--web.listen-address="+address,
		"--cluster.listen-address=", "--log.level=warn"))
}

// StartNodeExporter starts the node exporter on this machine.
func StartNodeExporter(t testing.TB, address string) *Server {
	t.Helper()
	return start(t, address, "http://"+address+"/metrics",
		program(t, NodeExporter, "--web.listen-address="+address, "--log.level=error"))
}

// StartJMXExporter starts the exporter's HTTP server with a configuration file
// that names the broker's JMX address.
func StartJMXExporter(t testing.TB, address, config string) *Server {
	t.Helper()
	return start(t, address, "http://"+address+"/metrics",
		jar(t, "jmx-exporter", jmxPOM, "jmx_prometheus_httpserver", address, config))
}

// TraceStore is a running Jaeger, whose own address answers queries.
type TraceStore struct {
	*Server
	// OTLP is where it takes spans by gRPC, host:port.
	OTLP string
}

// StartJaeger starts Jaeger all in one, which keeps traces in memory.
func StartJaeger(t testing.TB) *TraceStore {
	t.Helper()
	free, err := proc.FreeAddresses(7)
	if err != nil {
		t.Fatal(err)
	}
	query, otlp, admin := free[0], free[1], free[2]
	return &TraceStore{start(t, query, "http://"+admin+"/", program(t, Jaeger,
		"--query.http-server.host-port="+query,
		"--query.grpc-server.host-port="+free[3],
		"--collector.otlp.grpc.host-port="+otlp,
		"--collector.otlp.http.host-port="+free[4],
		"--collector.grpc-server.host-port="+free[5],
		"--collector.http-server.host-port="+free[6],
		"--admin.http.host-port="+admin,
		"--log-level=warn")), otlp}
}

// StartCollector starts the Collector with configuration files, each merged
// into those before it, and the settings that they read from the environment.
// health is where they have it say that it is well.
func StartCollector(t testing.TB, health string, settings []string, configs ...string) *Server {
	t.Helper()
	spec := program(t, Collector, configOptions(configs)...)
	spec.Env = settings
	return start(t, health, "http://"+health+"/", spec)
}

// ValidateCollector has the Collector read configuration files without running
// them, and returns what it says against them.
func ValidateCollector(t testing.TB, configs ...string) (complaint string, ok bool) {
	t.Helper()
	p := proc.StartFor(t, program(t, Collector, append([]string{"validate"}, configOptions(configs)...)...))
	<-p.Done()
	complaint = strings.TrimSpace(p.Output())
	return complaint, complaint == ""
}

func configOptions(configs []string) []string {
	var options []string
	for _, config := range configs {
		options = append(options, "--config="+config)
	}
	return options
}

// StartZipkin starts Zipkin's server, which keeps traces in memory.
func StartZipkin(t testing.TB) *Server {
	t.Helper()
	address := proc.Address(t)
	host, port, _ := strings.Cut(address, ":")
	return start(t, address, "http://"+address+"/health", jar(t, "zipkin", zipkinPOM, "zipkin-server",
		"--armeria.ports[0].ip="+host, "--armeria.ports[0].port="+port, "--armeria.ports[0].protocols[0]=http",
		"--logging.level.root=WARN"))
}
