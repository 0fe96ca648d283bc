package otelkafka

import (
	"testing"

	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
