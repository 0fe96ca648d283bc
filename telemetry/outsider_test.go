package telemetry_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// outsider makes a module in a folder of its own that imports this one, the
// way another team's would, and returns a function that runs the go command
// there.
func outsider(t *testing.T) func(args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	copyFile(t, filepath.Join("testdata", "outsider", "main.go"), filepath.Join(folder, "main.go"))
	copyFile(t, filepath.Join(root, "go.sum"), filepath.Join(folder, "go.sum"))
	module := "module example.com/outsider\n\ngo 1.26\n\nrequire github.com/vigie-dev/vigie v0.0.0\n\nreplace github.com/vigie-dev/vigie => " + root + "\n"
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	goCommand := func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), "go", args...)
		command.Dir = folder
		command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
		}
		return string(output)
	}
	// The library's own requirements, as `go get` would write them down.
	goCommand("mod", "edit", "-require=github.com/IBM/sarama@"+versionOf(t, "github.com/IBM/sarama"))
	return goCommand
}

func versionOf(t *testing.T, module string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnOutsiderCanUseIt builds and runs a program of another module.
func TestAnOutsiderCanUseIt(t *testing.T) {
	goCommand := outsider(t)
	const want = "kafka_messages_produced_total{service=\"outsider\",topic=\"greetings\"} 1\ntraceparent travels: true\n"
	if got := goCommand("run", "."); !strings.HasSuffix(got, want) {
		t.Errorf("the program printed\n%swant\n%s", got, want)
	}
}

// TestWhatAnImporterGets holds the list in docs/telemetry.md against what an
// importer has to download and compile.
func TestWhatAnImporterGets(t *testing.T) {
	goCommand := outsider(t)
	output := goCommand("list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}",
		"github.com/vigie-dev/vigie/telemetry", "github.com/vigie-dev/vigie/telemetry/otelkafka")
	var modules []string
	for line := range strings.Lines(output) {
		if m := strings.TrimSpace(line); m != "" && m != "github.com/vigie-dev/vigie" && !strings.HasPrefix(m, "go: ") {
			modules = append(modules, m)
		}
	}
	slices.Sort(modules)
	modules = slices.Compact(modules)
	document, err := os.ReadFile(filepath.Join("..", "docs", "telemetry.md"))
	if err != nil {
		t.Fatal(err)
	}
	if list := "```\n" + strings.Join(modules, "\n") + "\n```"; !strings.Contains(string(document), list) {
		t.Errorf("docs/telemetry.md does not list what an importer compiles:\n%s", list)
	}
}
