// Package bench_test measures the whole system, beside the same work done on bare libraries.
package bench_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestMain(m *testing.M) { bank.Main(m) }
