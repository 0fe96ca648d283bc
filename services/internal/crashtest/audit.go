//go:build unix

package crashtest

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// VigieAudit returns the second opinion of `vigie audit`, by its exit status,
// or nil where the command does not exist.
func VigieAudit(ctx context.Context, binary string) func(ctx context.Context, data, brokers string) []string {
	help, err := exec.CommandContext(ctx, binary, "--help").Output()
	if err != nil || !strings.Contains(string(help), "\n   audit ") {
		return nil
	}
	return func(ctx context.Context, data, brokers string) []string {
		output, err := exec.CommandContext(ctx, binary, "audit", "--json", "--data", data, "--kafka-brokers", brokers).CombinedOutput() //nolint:gosec // as above
		if err != nil {
			return []string{fmt.Sprintf("vigie audit --json: %v\n%s", err, output)}
		}
		return nil
	}
}
