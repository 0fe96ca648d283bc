package bank

import (
	"testing"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
)

// Deployment is a way to run the whole system: it starts it on a data folder,
// with flags for its services. Started again on the same folder, after a stop,
// the system goes on where it was. What a test of the system asserts holds for
// every deployment.
type Deployment func(t testing.TB, data string, args ...string) *Bank

// Parallel lets a test run beside others, where it only waits most of the time:
// not in `make test-integration`, whose servers want the machine for themselves.
func Parallel(t *testing.T) {
	if !testproc.Integration {
		t.Parallel()
	}
}

// OnEach runs a test of the system on every deployment of the tier: in one
// process in `make test`, as processes of their own, on the embedded broker and
// on real Kafka, in `make test-integration`.
func OnEach(t *testing.T, test func(t *testing.T, start Deployment)) {
	t.Helper()
	Parallel(t)
	for name, deploy := range deployments() {
		t.Run(name, func(t *testing.T) { test(t, deploy(t)) })
	}
}
