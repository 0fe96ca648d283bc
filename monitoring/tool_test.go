//go:build !integration && unix

package monitoring_test

import (
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/servers"
)

// tool is a program that was built before. To build it takes minutes, which
// the integration tests do; these tests are among them.
func tool(t *testing.T, program string) string {
	t.Helper()
	path, ok := servers.Cached(program)
	if !ok {
		t.Skipf("%s is not built yet; make test-integration builds it and runs this test", program)
	}
	return path
}
