package telemetry_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

const (
	libraryPath   = "github.com/vigie-dev/vigie/telemetry"
	otelkafkaPath = libraryPath + "/otelkafka"
	otelhttpPath  = libraryPath + "/otelhttpserver"
	otlpPath      = libraryPath + "/otlp"
)

// outsider makes a module in a folder of its own whose only file is program and that requires the modules given, the
// way another team's would, and returns a function that runs the go command there. The library's modules are taken from
// this checkout; nothing else of the repository is in sight.
func outsider(t *testing.T, program string, requires ...string) func(args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	library, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	module := "module example.com/outsider\n\ngo 1.26.0\n"
	for _, path := range requires {
		module += fmt.Sprintf("\nrequire %s v0.0.0\n", path)
	}
	for path, folder := range map[string]string{libraryPath: library, otlpPath: filepath.Join(library, "otlp")} {
		module += fmt.Sprintf("\nreplace %s => %s\n", path, folder)
	}
	var sums []byte
	for _, name := range []string{"go.sum", filepath.Join("otlp", "go.sum")} {
		sums = append(sums, read(t, name)...)
	}
	folder := t.TempDir()
	for name, content := range map[string]string{"main.go": program, "go.mod": module, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goCommand := func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), "go", args...)
		command.Dir = folder
		command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
		var problems strings.Builder
		command.Stderr = &problems
		output, err := command.Output()
		if err != nil {
			t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, output, problems.String())
		}
		return string(output)
	}
	goCommand("mod", "tidy")
	return goCommand
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestAnOutsiderCanUseIt builds and runs a program of another module.
func TestAnOutsiderCanUseIt(t *testing.T) {
	goCommand := outsider(t, read(t, filepath.Join("testdata", "outsider", "main.go")), libraryPath)
	const want = "kafka_messages_produced_total{service=\"outsider\",topic=\"greetings\"} 1\ntraceparent travels: true\n"
	if got := goCommand("run", "."); !strings.HasSuffix(got, want) {
		t.Errorf("the program printed\n%swant\n%s", got, want)
	}
}

// TestAnOutsiderKeepsItsOwnSDK gives the library another team's providers: its spans and metrics arrive there, under
// their names in OpenTelemetry and with that team's service.name, and no more than these.
func TestAnOutsiderKeepsItsOwnSDK(t *testing.T) {
	goCommand := outsider(t, read(t, filepath.Join("testdata", "ownsdk", "main.go")), libraryPath)
	const want = `span: send greetings producer child: false
span: process greetings consumer child: true
span: GET /greetings/{name} server child: false
service.name: greeter
kafka.messages.produced topic=greetings 1
kafka.messages.consumed topic=greetings 0
kafka.send.failures topic=greetings 0
kafka.process.failures topic=greetings 0
kafka.message.processing.duration s topic=greetings 1 [0.0001 0.00025 0.0005 0.001 0.005 0.01 0.05 0.1 0.5 1 2 5 10 30 60]
kafka.consumer.records.in.hand topic=greetings 0
kafka.producer.records.in.flight topic=greetings 0
http.requests method=GET,route=/greetings/{name},status_code=200 1
http.request.duration s method=GET,route=/greetings/{name},status_code=200 1 [0.001 0.005 0.01 0.05 0.1 0.5 1 2 5 10 30 60]
`
	if got := goCommand("run", "."); got != want {
		t.Errorf("the program printed\n%swant\n%s", got, want)
	}
}

// importer is a module that imports one package of the library and nothing else.
type importer struct {
	compiled  []string // the modules whose packages it compiles
	buildList []string // every module whose version Go chooses for it, as `go list -m all` has them
}

func importerOf(t *testing.T, path string, requires ...string) importer {
	t.Helper()
	goCommand := outsider(t, fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", path), requires...)
	modules := func(args ...string) []string {
		all := strings.Fields(goCommand(args...))
		slices.Sort(all)
		return slices.DeleteFunc(slices.Compact(all), func(m string) bool { return m == "example.com/outsider" })
	}
	return importer{
		compiled:  modules("list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "."),
		buildList: modules("list", "-m", "-f", "{{.Path}}", "all"),
	}
}

// TestWhatAnImporterGets checks what a module grows by that imports a package of the library. What it compiles is listed
// in docs/telemetry.md. Its build list is longer: Go also chooses versions for what only the tests of others need. It is
// in testdata; each module that joins it can raise a version of the importer's own.
func TestWhatAnImporterGets(t *testing.T) {
	document := read(t, filepath.Join("..", "docs", "telemetry.md"))
	var base []string // what telemetry alone compiles
	for _, test := range []struct {
		path     string
		requires []string
		adds     bool // to what telemetry compiles
		apiAlone bool // of OpenTelemetry's, and nothing of Prometheus'
	}{
		{path: libraryPath, requires: []string{libraryPath}},
		{path: otelkafkaPath, requires: []string{libraryPath}, apiAlone: true},
		{path: otelhttpPath, requires: []string{libraryPath}, apiAlone: true},
		{path: otlpPath, requires: []string{libraryPath, otlpPath}, adds: true},
	} {
		got := importerOf(t, test.path, test.requires...)
		for _, m := range got.compiled {
			if test.apiAlone && (strings.HasPrefix(m, "go.opentelemetry.io/otel/sdk") || strings.Contains(m, "/exporters/") || strings.Contains(m, "/prometheus/")) {
				t.Errorf("who imports %s compiles %s", test.path, m)
			}
		}
		for _, m := range got.buildList {
			if what := unwanted(m); what != "" {
				t.Errorf("who imports %s gets %s, which is %s", test.path, m, what)
			}
		}
		telemetrytest.Golden(t, "buildlist-"+filepath.Base(test.path)+".txt", strings.Join(got.buildList, "\n")+"\n")
		more := slices.DeleteFunc(got.compiled, func(m string) bool { return test.adds && slices.Contains(base, m) })
		if list := "```\n" + strings.Join(more, "\n") + "\n```"; !strings.Contains(document, list) {
			t.Errorf("docs/telemetry.md does not list what who imports %s compiles:\n%s", test.path, list)
		}
		if base == nil {
			base = more
		}
	}
}

// unwanted says what a module is that must not be in an importer's build list; "" if it may be.
func unwanted(module string) string {
	// prometheus/common names it in its go.mod; nothing of the library compiles it.
	if strings.HasPrefix(module, "github.com/alecthomas/kingpin/") {
		return ""
	}
	for what, parts := range map[string][]string{
		"a database":                  {"sqlite", "pgx", "lib/pq", "goose", "mysql", "modernc.org"},
		"a broker, or another client": {"kfake", "franz-go", "kafka-go", "confluent"},
		"a command line":              {"urfave/cli", "cobra", "spf13", "kingpin"},
		"the Prometheus server":       {"prometheus/prometheus", "alertmanager"},
		"an OpenAPI validator":        {"kin-openapi"},
		"the application":             {"vigie-dev/vigie/internal", "vigie-dev/vigie/services", "vigie-dev/vigie/monitoring"},
	} {
		for _, part := range parts {
			if strings.Contains(module, part) {
				return what
			}
		}
	}
	if module == "github.com/vigie-dev/vigie" {
		return "the application"
	}
	return ""
}
