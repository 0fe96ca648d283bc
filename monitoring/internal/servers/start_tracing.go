//go:build unix

package servers

import (
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/process"
)

// TraceStore is a running Jaeger, whose own address answers queries.
type TraceStore struct {
	*Server
	// OTLP is where it takes spans by gRPC, host:port.
	OTLP string
}

// StartJaeger starts Jaeger all in one, which keeps traces in memory.
func StartJaeger(t testing.TB) *TraceStore {
	t.Helper()
	query, otlp, admin := address(t), address(t), address(t)
	return &TraceStore{start(t, Jaeger, query, answers("http://"+admin+"/"), Require(t, Jaeger),
		"--query.http-server.host-port="+query,
		"--query.grpc-server.host-port="+address(t),
		"--collector.otlp.grpc.host-port="+otlp,
		"--collector.otlp.http.host-port="+address(t),
		"--collector.grpc-server.host-port="+address(t),
		"--collector.http-server.host-port="+address(t),
		"--admin.http.host-port="+admin,
		"--log-level=warn"), otlp}
}

// StartCollector starts the Collector with configuration files, each merged
// into those before it, and the settings that they read from the environment.
// health is where they have it say that it is well.
func StartCollector(t testing.TB, health string, settings []string, configs ...string) *Server {
	t.Helper()
	return launch(t, health, answers("http://"+health+"/"),
		process.Command{Name: Collector, Path: Require(t, Collector), Args: configOptions(configs), Env: settings})
}

// ValidateCollector has the Collector read configuration files without running
// them, and returns what it says against them.
func ValidateCollector(t testing.TB, configs ...string) (complaint string, ok bool) {
	t.Helper()
	p, err := process.Start(Collector, t.TempDir(), Require(t, Collector), append([]string{"validate"}, configOptions(configs)...)...)
	if err != nil {
		t.Fatal(err)
	}
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
	j, err := findJava(t.Context(), zipkinPOM)
	check(t, err)
	jar, err := j.jar(zipkinJar)
	if err != nil {
		t.Fatal(err)
	}
	free := address(t)
	host, port, _ := strings.Cut(free, ":")
	return start(t, "zipkin", free, answers("http://"+free+"/health"), j.program, "-Xmx160m", "-jar", jar,
		"--armeria.ports[0].ip="+host, "--armeria.ports[0].port="+port, "--armeria.ports[0].protocols[0]=http",
		"--logging.level.root=WARN")
}
