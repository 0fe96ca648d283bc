//go:build unix

package monitoring_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/internal/testenv/repo"
)

// A docker that answers as its settings say, and notes its arguments.
const fakeDocker = `#!/bin/sh
echo "$*" >>"$CALLS"
case "$1 $2" in
"compose version") exit "${NO_COMPOSE:-0}" ;;
"info "*) exit "${NO_ENGINE:-0}" ;;
"ps --filter") [ -z "$OWN" ] || echo "127.0.0.1:$OWN->3000/tcp" ;;
"compose config") printf 'name: vigie\nservices:\n  grafana:\n    ports:\n      - mode: ingress\n        published: "%s"\n' "$PORT" ;;
esac
`

// What is missing is said in one line, before anything is started.
func TestPreflight(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	_, unused, _ := net.SplitHostPort(proc.Address(t))
	for name, tt := range map[string]struct {
		env  []string
		want string // "" where it is to start
	}{
		"no Docker":            {[]string{"NO_DOCKER=1"}, "Docker is not installed"},
		"no compose plugin":    {[]string{"NO_COMPOSE=1"}, "no plugin compose"},
		"no engine":            {[]string{"NO_ENGINE=1"}, "engine does not answer"},
		"an unknown profile":   {[]string{"PROFILES=tracing metrics"}, "no profile metrics"},
		"a port in use":        {[]string{"PORT=" + port}, port + " (grafana)"},
		"a port of our own":    {[]string{"PORT=" + port, "OWN=" + port}, ""},
		"a range of our own":   {[]string{"PORT=" + port, "OWN=" + before(t, port) + "-" + port}, ""},
		"beside our range":     {[]string{"PORT=" + port, "OWN=4317-4318"}, port + " (grafana)"},
		"all there":            {[]string{"PORT=" + unused}, ""},
		"with two known parts": {[]string{"PORT=" + unused, "PROFILES=tracing zipkin"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, calls, err := runWithDocker(t, "start", tt.env)
			started := strings.Contains(calls, "compose up")
			if tt.want == "" {
				if err != nil || !started {
					t.Errorf("start: %v, %q; docker was called with:\n%s", err, out, calls)
				}
				return
			}
			if err == nil || started || !strings.Contains(out, tt.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("start: %v, want one line with %q before anything starts, got %q; docker was called with:\n%s", err, tt.want, out, calls)
			}
		})
	}
}

// before is the port before this one.
func before(t *testing.T, port string) string {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(n - 1)
}

// Nothing is forgotten without a yes.
func TestCleanAsks(t *testing.T) {
	for answer, removes := range map[string]bool{"yes\n": true, "no\n": false, "": false, "y\n": false} {
		folder := t.TempDir()
		// Something to forget: the volumes that this docker lists.
		docker := "#!/bin/sh\necho \"$*\" >>\"$CALLS\"\n[ \"$1 $2\" != \"volume ls\" ] || echo vigie_kafka\n"
		_, calls, err := runStack(t, folder, docker, answer, []string{"clean"}, nil)
		if got := strings.Contains(calls, "down --volumes"); err != nil || got != removes {
			t.Errorf("answered %q: %v, removes is %v; docker was called with:\n%s", answer, err, got, calls)
		}
	}
}

// runWithDocker runs tools/stack.sh with the docker above.
func runWithDocker(t *testing.T, command string, env []string) (out, calls string, err error) {
	t.Helper()
	docker := fakeDocker
	if len(env) > 0 && env[0] == "NO_DOCKER=1" {
		docker = ""
	}
	return runStack(t, t.TempDir(), docker, "", []string{command}, env)
}

// runStack runs a copy of tools/stack.sh, and of what it reads, in a folder of its
// own, with a PATH that has this docker, or none, and little else.
func runStack(t *testing.T, folder, docker, stdin string, args, env []string) (out, calls string, err error) {
	t.Helper()
	return runScript(t, folder, "tools/stack.sh", docker, stdin, args, env)
}

// runScript runs a script of tools in that way.
func runScript(t *testing.T, folder, script, docker, stdin string, args, env []string) (out, calls string, err error) {
	t.Helper()
	bin := filepath.Join(folder, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"tools/stack.sh", "tools/stack-pin.sh", "tools/stack-preflight.sh", "tools/stack-profiles.sh", "monitoring/targets/host/services.yml",
	} {
		copied := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, []byte(repo.Read(t, name)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "bash", "dirname", "awk", "tr", "wc", "rm", "cat", "sleep", "grep", "mktemp", "sort", "cksum", "cut"} {
		if at, err := exec.LookPath(name); err == nil {
			if err := os.Symlink(at, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte("#!/bin/sh\necho Linux\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if docker != "" {
		if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	noted := filepath.Join(folder, "calls")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "bash"), append([]string{filepath.Join(folder, filepath.FromSlash(script))}, args...)...)
	cmd.Env = append([]string{"PATH=" + bin, "CALLS=" + noted, "FOLLOW=0"}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	arguments, readErr := os.ReadFile(noted)
	if readErr != nil && !os.IsNotExist(readErr) {
		t.Fatal(readErr)
	}
	return string(text), string(arguments), err
}

// After make start the doctor looks from inside the stack, with the image's
// binary and by the containers' names, and by the host's where one was built.
func TestDoctorLooksWithTheBinaryThatIsThere(t *testing.T) {
	docker := strings.Replace(runningDocker, "case", "echo \"$*\" >>\"$CALLS\"\ncase", 1)
	out, calls, err := runStack(t, t.TempDir(), docker, "", []string{"doctor", "--json"}, nil)
	want := regexp.MustCompile(`(?m)^compose run --rm --no-deps .* topics doctor .*--commande-addr commande:3001 .*--prometheus-url http://prometheus:9090 .* --json$`)
	if err != nil || !want.MatchString(calls) {
		t.Errorf("without a binary: %v, %s; docker was called with:\n%s", err, out, calls)
	}
	compose := repo.Read(t, "docker-compose.yml")
	for _, named := range regexp.MustCompile(`[a-z-]+:\d+`).FindAllString(calls, -1) {
		if name, port, _ := strings.Cut(named, ":"); !strings.Contains(compose, "\n  "+name+":\n") || !strings.Contains(compose, ":"+port) {
			t.Errorf("the stack has no %s", named)
		}
	}

	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "bin", "vigie"), []byte("#!/bin/sh\necho \"host: $*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, _, err = runStack(t, folder, docker, "", []string{"doctor", "--json"}, nil); err != nil || out != "host: doctor --json\n" {
		t.Errorf("with a binary: %v, %s", err, out)
	}
	if out, _, err = runStack(t, t.TempDir(), "", "", []string{"doctor"}, nil); err == nil || !strings.Contains(out, "neither bin/vigie nor Go") || strings.Count(out, "\n") != 1 {
		t.Errorf("with nothing: %v, %s", err, out)
	}
}

// A docker that knows two services and their digests.
const pinningDocker = `#!/bin/sh
case "$1 $2" in
"compose -f") printf 'name: vigie\nservices:\n  kafka:\n    image: apache/kafka:4.3.1\n  suivi:\n    build:\n      context: .\n      dockerfile: Dockerfile\n    image: vigie:local\nvolumes:\n  kafka:\n    name: vigie_kafka\n' ;;
"buildx imagetools") [ -z "$FAILS" ] || { echo "ERROR: no such host" >&2; exit 1; }; echo "sha256:$(printf %s "$4" | cksum | cut -d' ' -f1)" ;;
esac
`

// Every image is pinned, and those that ours are built from; where a digest cannot be
// had, nothing is written.
func TestPin(t *testing.T) {
	dockerfile := "FROM golang:1.26.8-alpine AS build\nFROM build AS again\nFROM scratch\n"
	for name, fails := range map[string]bool{"digests": false, "no network": true} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
				t.Fatal(err)
			}
			var env []string
			if fails {
				env = []string{"FAILS=1"}
			}
			out, _, err := runScript(t, folder, "tools/stack-pin.sh", pinningDocker, "", nil, env)
			text, readErr := os.ReadFile(filepath.Join(folder, "docker-compose.pinned.yml"))
			if fails {
				if err == nil || readErr == nil || !strings.Contains(out, "cannot read the digest of apache/kafka:4.3.1") {
					t.Errorf("%v, %s; written: %v, %s", err, out, readErr == nil, text)
				}
				return
			}
			want := regexp.MustCompile(`^# .*\nservices:\n  kafka:\n    image: apache/kafka:4.3.1@sha256:\d+\n` +
				`  suivi:\n    build:\n      additional_contexts:\n        "golang:1.26.8-alpine": docker-image://golang:1.26.8-alpine@sha256:\d+\n$`)
			if err != nil || readErr != nil || !want.Match(text) {
				t.Errorf("%v, %s, %v:\n%s", err, out, readErr, text)
			}
		})
	}
}

// The stack is started with the images that were pinned.
func TestPinnedImagesAreUsed(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		folder := t.TempDir()
		if pinned {
			if err := os.WriteFile(filepath.Join(folder, "docker-compose.pinned.yml"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		docker := "#!/bin/sh\n[ \"$1 $2\" != \"compose up\" ] || echo \"file=${COMPOSE_FILE-}\" >>\"$CALLS\"\n"
		out, calls, err := runStack(t, folder, docker, "", []string{"start"}, nil)
		want := map[bool]string{false: "file=\n", true: "file=docker-compose.yml:docker-compose.pinned.yml\n"}[pinned]
		if err != nil || calls != want {
			t.Errorf("pinned %v: %v, %s, %q", pinned, err, out, calls)
		}
	}
}

// A docker that prints its settings when it is to start something.
const tellingDocker = `#!/bin/sh
[ "$1 $2" != "compose config" ] || echo kafka
[ "$1 $2" != "compose up" ] || for v in COMPOSE_PROFILES OTEL_TRACES_EXPORTER OTEL_LOGS_EXPORTER TRACES_TO LOGS_TO \
	COLLECTOR_CONFIG COLLECTOR_TARGETS TRACING_TARGETS VIGIE_DEMO PAIEMENT_ERROR_RATE; do eval "echo \"$v=\${$v-}\"" >>"$CALLS"; done
`

// PROFILES switches on what the services send, and has the Collector send it on
// to what runs.
func TestProfilesSwitchOnWhatTheyNeed(t *testing.T) {
	const zipkin, elasticsearch, sampling = "--config=/etc/otel-collector/zipkin.yaml", "--config=/etc/otel-collector/elasticsearch.yaml", "--config=/etc/otel-collector/tail-sampling.yaml"
	for profiles, want := range map[string][]string{
		"":                       {"", "", "", "", "", "", "", "", "", ""},
		"tracing":                {"tracing", "otlp", "", "[otlp_grpc/jaeger]", "", "", "available", "available", "", ""},
		"zipkin":                 {"zipkin", "otlp", "", "[zipkin]", "", zipkin, "available", "", "", ""},
		"logging":                {"logging", "", "otlp", "[debug]", "[elasticsearch]", elasticsearch, "available", "", "", ""},
		"tracing logging":        {"tracing,logging", "otlp", "otlp", "[otlp_grpc/jaeger]", "[elasticsearch]", elasticsearch, "available", "available", "", ""},
		"tracing zipkin logging": {"tracing,zipkin,logging", "otlp", "otlp", "[otlp_grpc/jaeger,zipkin]", "[elasticsearch]", zipkin + " " + elasticsearch, "available", "available", "", ""},
		"tracing with sampling":  {"tracing", "otlp", "", "[otlp_grpc/jaeger]", "", sampling, "available", "available", "", ""},
		"demo":                   {"demo", "", "", "", "", "", "", "", "true", "0.1"},
		"tracing demo":           {"tracing,demo", "otlp", "", "[otlp_grpc/jaeger]", "", "", "available", "available", "true", "0.1"},
	} {
		for _, command := range []string{"start", "monitoring"} {
			t.Run(command+" "+profiles, func(t *testing.T) {
				chosen, sample, _ := strings.Cut(profiles, " with ")
				env := []string{"PROFILES=" + chosen}
				if sample != "" {
					env = append(env, "TAIL_SAMPLING=1")
				}
				out, given, err := runStack(t, t.TempDir(), tellingDocker, "", []string{command}, env)
				if err != nil {
					t.Fatalf("%v, %s", err, out)
				}
				var got []string
				for line := range strings.Lines(given) {
					_, value, _ := strings.Cut(strings.TrimSpace(line), "=")
					got = append(got, value)
				}
				if strings.Join(got, "|") != strings.Join(want, "|") {
					t.Errorf("docker compose was given\n%s, want %q", given, want)
				}
			})
		}
	}
}

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
// reach them, and keep their state apart; without the stack they learn
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
		"with a demonstration":  {stopped, []string{"PROFILES=demo"}, "unset unset unset 127.0.0.1:9092 unset unset unset a demonstration"},
		"to another collector":  {stopped, []string{"PROFILES=tracing logging", "OTEL_LOGS_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:1"}, "unset unset unset 127.0.0.1:9092 otlp none http://c:1"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			vigie := "#!/bin/sh\necho \"$*: ${COMMANDE_ADDR-unset} ${PAIEMENT_ADDR-unset} ${VIGIE_DATA-unset} ${KAFKA_BROKERS-unset} ${OTEL_TRACES_EXPORTER-unset} ${OTEL_LOGS_EXPORTER-unset} ${OTEL_EXPORTER_OTLP_ENDPOINT-unset}${VIGIE_DEMO+ a demonstration}\"\n"
			if err := os.Mkdir(filepath.Join(folder, "bin"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "bin", "vigie"), []byte(vigie), 0o755); err != nil {
				t.Fatal(err)
			}
			out, _, err := runStack(t, folder, tt.docker, "", []string{"run", "up", "--log-format", "json"}, tt.env)
			if want := "up --log-format json: " + tt.want; err != nil || strings.TrimSpace(out) != want {
				t.Errorf("%v, %q, want %q", err, strings.TrimSpace(out), want)
			}
		})
	}
}
