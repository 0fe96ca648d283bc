// Package system_test checks what is promised on the whole system, started as its users start it.
package system_test

import (
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestMain(m *testing.M) { bank.Main(m) }
