// Package bench_test measures the whole system, beside the same work done on bare
// libraries: ratios of one run mean something on any machine. docs/performance.md
// has the figures.
//
// bench_test.go measures orders and the start, paiement_test.go decisions,
// views_test.go suivi and analyseur, rounds_test.go counts what is done for orders; keepup_test.go, visible_test.go,
// sampling_test.go and postgres_integration_test.go answer one question each; audit_test.go measures an
// audit of many orders.
// bare_test.go and bareloop_test.go are the bare side: an HTTP handler and a
// consumer. main_test.go is this page.
package bench_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestMain(m *testing.M) { bank.Main(m) }
