//go:build integration && unix

package monitoring_test

import (
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/servers"
)

// tool is a program, built if need be.
func tool(t *testing.T, program string) string {
	t.Helper()
	return servers.Require(t, program)
}
