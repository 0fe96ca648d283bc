package otelkafka

import (
	"testing"
	"time"

	"github.com/vigie-dev/vigie/telemetry/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patience bounds what would hang. No test says anything by it.
const patience = 2 * time.Minute
