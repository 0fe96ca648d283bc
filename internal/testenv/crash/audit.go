//go:build unix

package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// VigieAudit returns the second opinion of `vigie audit`, by its exit status,
// or nil where the command does not exist.
func VigieAudit(ctx context.Context, binary string) func(ctx context.Context, data, database, brokers string) []string {
	help, err := exec.CommandContext(ctx, binary, "--help").Output()
	if err != nil || !strings.Contains(string(help), "\n   audit ") {
		return nil
	}
	return func(ctx context.Context, data, database, brokers string) []string {
		cmd := exec.CommandContext(ctx, binary, "audit", "--json", "--data", data, "--kafka-brokers", brokers) //nolint:gosec // as above
		cmd.Env = append(os.Environ(), "DATABASE_URL="+database)
		output, err := cmd.CombinedOutput()
		if err != nil {
			return []string{fmt.Sprintf("vigie audit --json: %v\n%s", err, output)}
		}
		return nil
	}
}
