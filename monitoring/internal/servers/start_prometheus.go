//go:build unix

package servers

import "testing"

// StartPrometheus starts Prometheus with a configuration file, which may name
// its address: it is free beforehand.
func StartPrometheus(t testing.TB, address, config string) *Server {
	t.Helper()
	return start(t, Prometheus, address, answers("http://"+address+"/-/ready"), Require(t, Prometheus),
		"--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+address,
		"--enable-feature=exemplar-storage", "--log.level=warn")
}

// StartAlertmanager starts Alertmanager with a configuration file, alone.
func StartAlertmanager(t testing.TB, address, config string) *Server {
	t.Helper()
	return start(t, Alertmanager, address, answers("http://"+address+"/-/ready"), Require(t, Alertmanager),
		"--config.file="+config, "--storage.path="+t.TempDir(), "--web.listen-address="+address,
		"--cluster.listen-address=", "--log.level=warn")
}

// StartNodeExporter starts the node exporter on this machine.
func StartNodeExporter(t testing.TB, address string) *Server {
	t.Helper()
	return start(t, NodeExporter, address, answers("http://"+address+"/metrics"), Require(t, NodeExporter),
		"--web.listen-address="+address, "--log.level=error")
}
