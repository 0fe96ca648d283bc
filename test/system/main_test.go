// Package system_test holds the whole system, started as its users start it, to what is promised.
package system_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestMain(m *testing.M) { bank.Main(m) }
