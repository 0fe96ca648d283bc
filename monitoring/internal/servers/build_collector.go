//go:build unix

package servers

import (
	"context"
	"crypto/sha256"
	_ "embed" // for the manifest
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

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
