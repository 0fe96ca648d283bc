//go:build unix

package servers

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // for the Collector's manifest
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/vigie-dev/vigie/internal/testenv/proc"
)

// Programs that [Require] brings.
const (
	Prometheus   = "prometheus"
	Promtool     = "promtool"
	Alertmanager = "alertmanager"
	Amtool       = "amtool"
	NodeExporter = "node_exporter"
	Jaeger       = "jaeger"  // all in one, without its pages, which its module lacks
	Collector    = "otelcol" // OpenTelemetry's, with the parts in collector.yaml
)

// Versions of the modules that the programs come from. Prometheus and
// Alertmanager are those whose packages go.mod names.
const (
	prometheusModule    = "github.com/prometheus/prometheus"
	prometheusVersion   = "v0.316.0" // of Prometheus 3.16
	alertmanagerModule  = "github.com/prometheus/alertmanager"
	alertmanagerVersion = "v0.34.2"
	exporterModule      = "github.com/prometheus/node_exporter"
	exporterVersion     = "v1.12.1"
	jaegerModule        = "github.com/jaegertracing/jaeger"
	jaegerVersion       = "v1.76.0"
)

// recipe says how a program is made; another version is another program.
type recipe struct {
	version string
	build   func(ctx context.Context, output string) error
}

func recipeOf(program string) (recipe, bool) {
	if program == Collector {
		return collectorRecipe(), true
	}
	s, ok := sourceOf(program)
	return recipe{s.version, s.build}, ok
}

// source says where a program comes from.
type source struct {
	module, version, pkg string
	shown                string // as the program shows its version
	tags                 string
	// page is a file that the source embeds and the published module lacks.
	page string
}

// sourceOf knows the programs that one module holds. Without remove_all_sd
// Prometheus needs the clients of every cloud.
func sourceOf(program string) (source, bool) {
	const page = "ui/app/dist/index.html"
	s, ok := map[string]source{
		Prometheus:   {prometheusModule, prometheusVersion, "cmd/prometheus", "3.16.0", "remove_all_sd", ""},
		Promtool:     {prometheusModule, prometheusVersion, "cmd/promtool", "3.16.0", "remove_all_sd", ""},
		Alertmanager: {alertmanagerModule, alertmanagerVersion, "cmd/alertmanager", "0.34.2", "", page},
		Amtool:       {alertmanagerModule, alertmanagerVersion, "cmd/amtool", "0.34.2", "", page},
		NodeExporter: {exporterModule, exporterVersion, ".", "1.12.1", "", ""},
		Jaeger:       {jaegerModule, jaegerVersion, "cmd/all-in-one", "1.76.0", "", ""},
	}[program]
	return s, ok
}

// buildTimeout bounds a cold build, minutes on two cores.
const buildTimeout = 30 * time.Minute

// Require returns the path of a program, which is built the first time. Where
// it cannot be had the test is skipped with the reason, or fails in continuous
// integration.
func Require(t testing.TB, program string) string {
	t.Helper()
	r, ok := recipeOf(program)
	if !ok {
		t.Fatalf("no program %s", program)
	}
	path, err := proc.Once(r.name(program), func(aside string) error { return r.build(t.Context(), aside) })
	proc.Check(t, err)
	return path
}

// Tool is [Require] for a test that runs with the tag integration and without:
// then it is skipped where the program has not been built before.
func Tool(t testing.TB, program string) string {
	t.Helper()
	if proc.Integration {
		return Require(t, program)
	}
	r, _ := recipeOf(program)
	path, ok := proc.Cached(r.name(program))
	if !ok {
		t.Skipf("%s is not built yet; make test-integration builds it and runs this test", program)
	}
	return path
}

// name is a program's name in the cache.
func (r recipe) name(program string) string { return program + "-" + r.version }

// build builds a copy of the module's folder: what it embeds may have to be
// added, and its own go.mod is what it was tested with.
func (s source) build(ctx context.Context, output string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	tree := output + "-source"
	if err := s.copy(ctx, tree); err != nil {
		return err
	}
	if s.page != "" {
		page := filepath.Join(tree, filepath.FromSlash(s.page))
		if err := errors.Join(os.MkdirAll(filepath.Dir(page), 0o750), os.WriteFile(page, []byte("<!doctype html>\n"), 0o600)); err != nil {
			return fmt.Errorf("add page to %s: %w", s.module, err)
		}
	}
	_, err := goCommand(ctx, tree, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags="+s.tags,
		"-ldflags=-s -w -X github.com/prometheus/common/version.Version="+s.shown, "-o", output, "./"+s.pkg)
	return err
}

// copy brings the module's files into a folder, writable.
func (s source) copy(ctx context.Context, tree string) error {
	answer, err := goCommand(ctx, filepath.Dir(tree), "mod", "download", "-json", s.module+"@"+s.version)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(answer, &module); err != nil {
		return fmt.Errorf("find %s: %w", s.module, err)
	}
	if err := os.CopyFS(tree, os.DirFS(module.Dir)); err != nil {
		return fmt.Errorf("copy %s: %w", s.module, err)
	}
	return writable(tree)
}

// writable lets files be added and the tree be removed: the module cache is
// read-only, and so are copies of it.
func writable(tree string) error {
	return filepath.WalkDir(tree, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o750) //nolint:gosec // a folder
	})
}

// goCommand runs the go command in a folder, as far from the user's settings
// as the build needs it.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	var output, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // constants
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &complaints
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: go %v: %w\n%s%s", proc.ErrMissing, args, err, proc.End(output.String()), proc.End(complaints.String()))
	}
	return output.Bytes(), nil
}

// The Collector is published as parts, and put together by its builder.
const (
	collectorVersion = "v0.155.0"
	collectorBuilder = "go.opentelemetry.io/collector/cmd/builder@" + collectorVersion
)

//go:embed collector.yaml
var collectorManifest []byte

func collectorRecipe() recipe {
	digest := sha256.Sum256(collectorManifest)
	return recipe{collectorVersion + "-" + hex.EncodeToString(digest[:6]), buildCollector}
}

// buildCollector has the builder write the program and compiles it. The builder
// would look for the modules itself, tests of theirs included, which need
// modules that cannot be had everywhere.
func buildCollector(ctx context.Context, output string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	tree := output + "-source"
	manifest := filepath.Join(tree, "collector.yaml")
	module, err := collectorModule()
	if err := errors.Join(err, os.Mkdir(tree, 0o750), os.WriteFile(manifest, collectorManifest, 0o600)); err != nil {
		return fmt.Errorf("prepare the Collector: %w", err)
	}
	if _, err := goCommand(ctx, tree, "run", collectorBuilder,
		"--config="+manifest, "--skip-get-modules", "--skip-compilation"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "go.mod"), []byte(module), 0o600); err != nil {
		return fmt.Errorf("prepare the Collector: %w", err)
	}
	_, err = goCommand(ctx, tree, "build", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", output, ".")
	return err
}

// collectorModule is the text of a go.mod with the manifest's modules and those
// that the program itself imports.
func collectorModule() (string, error) {
	var manifest map[string]yaml.Node
	if err := yaml.Unmarshal(collectorManifest, &manifest); err != nil {
		return "", fmt.Errorf("read manifest: %w", err)
	}
	lines := []string{
		"module otelcol", "go 1.25.0",
		"require go.opentelemetry.io/collector/otelcol " + collectorVersion,
		"require go.opentelemetry.io/collector/service " + collectorVersion,
		"require go.opentelemetry.io/collector/confmap v1.61.0",
	}
	for kind, node := range manifest {
		if kind == "dist" {
			continue
		}
		var parts []struct{ Gomod string }
		if err := node.Decode(&parts); err != nil {
			return "", fmt.Errorf("read %s of manifest: %w", kind, err)
		}
		for _, part := range parts {
			lines = append(lines, "require "+part.Gomod)
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}
