//go:build unix

package system

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the vigie command into a folder and returns its path. As in
// make build there is no cgo, so that the two share what is cached.
func Build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "vigie")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/vigie-dev/vigie/internal/cli") //nolint:gosec // constants
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vigie: %w\n%s", err, output)
	}
	return binary, nil
}
