package compose

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A docker that answers as told, and notes what it is asked.
const fakeDocker = `#!/bin/sh
echo "$*" >>"$CALLS"
case "$1 $2" in
"compose version") exit "${NO_COMPOSE:-0}" ;;
"info "*) exit "${NO_ENGINE:-0}" ;;
"ps --filter") [ -z "$OWN" ] || echo "127.0.0.1:$OWN->3000/tcp" ;;
"compose config") printf 'name: vigie\nservices:\n  grafana:\n    ports:\n      - mode: ingress\n        published: "%s"\n' "$PORT" ;;
esac
`

// What is missing is told in one line, before anything is started.
func TestPreflight(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, unused, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close()
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
			out, calls, err := stack(t, "start", tt.env)
			started := strings.Contains(calls, "compose up")
			if tt.want == "" {
				if err != nil || !started {
					t.Errorf("start: %v, %q; docker was asked:\n%s", err, out, calls)
				}
				return
			}
			if err == nil || started || !strings.Contains(out, tt.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("start: %v, want one line with %q before anything starts, got %q; docker was asked:\n%s", err, tt.want, out, calls)
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
		_, calls, err := run(t, folder, docker, answer, []string{"clean"}, nil)
		if got := strings.Contains(calls, "down --volumes"); err != nil || got != removes {
			t.Errorf("answered %q: %v, removes is %v; docker was asked:\n%s", answer, err, got, calls)
		}
	}
}

// stack runs tools/stack.sh with the docker above.
func stack(t *testing.T, command string, env []string) (out, calls string, err error) {
	t.Helper()
	docker := fakeDocker
	if len(env) > 0 && env[0] == "NO_DOCKER=1" {
		docker = ""
	}
	return run(t, t.TempDir(), docker, "", []string{command}, env)
}

// run runs a copy of tools/stack.sh in a folder of its own, with a PATH that
// has this docker, or none, and little else.
func run(t *testing.T, folder, docker, stdin string, args, env []string) (out, calls string, err error) {
	t.Helper()
	bin, tools := filepath.Join(folder, "bin"), filepath.Join(folder, "tools")
	for _, d := range []string{bin, tools} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"stack.sh", "stack-preflight.sh", "stack-profiles.sh"} {
		text, err := os.ReadFile(filepath.Join(root, "tools", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tools, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "bash", "dirname", "awk", "tr", "wc", "rm", "cat", "sleep", "grep"} {
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
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "bash"), append([]string{filepath.Join(tools, "stack.sh")}, args...)...)
	cmd.Env = append([]string{"PATH=" + bin, "CALLS=" + noted, "FOLLOW=0"}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	asked, readErr := os.ReadFile(noted)
	if readErr != nil && !os.IsNotExist(readErr) {
		t.Fatal(readErr)
	}
	return string(text), string(asked), err
}
