// Package bench_test measures the whole system, beside the same work done on bare
// libraries: ratios of one run mean something on any machine. docs/performance.md
// has the figures.
//
// bench_test.go measures orders and the start, benchpaiement_test.go decisions,
// benchviews_test.go suivi and analyseur; benchkeepup, benchvisible, benchsampling
// and benchpostgres one question each. benchbare_test.go and benchbareloop_test.go
// are the bare side: an HTTP handler and a consumer.
package bench_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestMain(m *testing.M) { bank.Main(m) }
