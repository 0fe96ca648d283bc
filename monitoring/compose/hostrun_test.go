package compose

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A docker whose stack is up, with the gateway that Prometheus's container
// knows.
const runningDocker = `#!/bin/sh
case "$1 $2" in
"ps -q") echo 0123456789ab ;;
"info -f") echo "$SYSTEM" ;;
"compose exec") printf '127.0.0.1\tlocalhost\nfd00::1\thost.docker.internal\n172.17.0.1\thost.docker.internal\n' ;;
esac
`

// Services on the host listen on loopback and where the stack's containers
// reach them, and keep their state apart; without the stack they are told
// nothing but the broker.
func TestServicesOnTheHost(t *testing.T) {
	const debian, desktop, stopped = "Debian GNU/Linux", "Docker Desktop", "#!/bin/sh\n"
	for name, tt := range map[string]struct {
		docker string
		env    []string
		want   string
	}{
		"beside the stack":      {runningDocker, []string{"SYSTEM=" + debian}, "127.0.0.1:3001,172.17.0.1:3001 127.0.0.1:3004,172.17.0.1:3004 data-vigie 127.0.0.1:9092 unset unset unset"},
		"on Docker Desktop":     {runningDocker, []string{"SYSTEM=" + desktop}, "127.0.0.1:3001 127.0.0.1:3004 data-vigie 127.0.0.1:9092 unset unset unset"},
		"with the stack down":   {stopped, nil, "unset unset unset 127.0.0.1:9092 unset unset unset"},
		"without Docker":        {"", nil, "unset unset unset 127.0.0.1:9092 unset unset unset"},
		"settings of one's own": {runningDocker, []string{"SYSTEM=" + debian, "COMMANDE_ADDR=127.0.0.1:4001", "VIGIE_DATA=mine", "KAFKA_BROKERS=k:1"}, "127.0.0.1:4001 127.0.0.1:3004,172.17.0.1:3004 mine k:1 unset unset unset"},
		"with traces":           {stopped, []string{"PROFILES=tracing"}, "unset unset unset 127.0.0.1:9092 otlp unset http://127.0.0.1:4317"},
		"with Zipkin":           {stopped, []string{"PROFILES=zipkin"}, "unset unset unset 127.0.0.1:9092 otlp unset http://127.0.0.1:4317"},
		"with logs":             {stopped, []string{"PROFILES=logging"}, "unset unset unset 127.0.0.1:9092 unset otlp http://127.0.0.1:4317"},
		"to another collector":  {stopped, []string{"PROFILES=tracing logging", "OTEL_LOGS_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:1"}, "unset unset unset 127.0.0.1:9092 otlp none http://c:1"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			vigie := "#!/bin/sh\necho \"$*: ${COMMANDE_ADDR-unset} ${PAIEMENT_ADDR-unset} ${VIGIE_DATA-unset} ${KAFKA_BROKERS-unset} ${OTEL_TRACES_EXPORTER-unset} ${OTEL_LOGS_EXPORTER-unset} ${OTEL_EXPORTER_OTLP_ENDPOINT-unset}\"\n"
			if err := os.Mkdir(filepath.Join(folder, "bin"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "bin", "vigie"), []byte(vigie), 0o755); err != nil {
				t.Fatal(err)
			}
			out, _, err := run(t, folder, tt.docker, "", []string{"run", "up", "--log-format", "json"}, tt.env)
			if want := "up --log-format json: " + tt.want; err != nil || strings.TrimSpace(out) != want {
				t.Errorf("%v, %q, want %q", err, strings.TrimSpace(out), want)
			}
		})
	}
}
