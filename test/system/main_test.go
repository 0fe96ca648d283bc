// Package system_test checks what is promised on the whole system, started as its
// users start it: what no package's own tests can see.
//
// main_test.go and system_test.go have what all share: a system, a load of orders,
// and the comparison of both. The other files are named after what they test: a
// subcommand (alerts, audit, demo, dlq, health, reset, trace), a part that goes away
// (away, postgres), the HTTP edge (edge, contract, idempotency), what is wrong at
// the start (errors, secured, rights), what the system shows of itself (metrics, probe, prometheus, privacy,
// records, telemetry, tracetree), a new service (services), a backup (restore).
//
// What the race detector slows down several times without a chance of finding
// more, since the files beside it have all of the system at work at once, says
// !race in its build constraint; `make test` runs it without. The tag whole puts
// it back.
package system_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestMain(m *testing.M) { bank.Main(m) }
