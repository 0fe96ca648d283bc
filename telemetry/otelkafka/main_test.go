package otelkafka

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails if a goroutine outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := leaked(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// noLeak fails the test if it leaves goroutines beyond those that are there now.
func noLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := leaked(before); err != nil {
			t.Error(err)
		}
	})
}

// leaked waits for the goroutines to end, for a connection that is closed takes its time, and returns those that do
// not. Sarama's metrics arbiter has no stop.
func leaked(options ...goleak.Option) (err error) {
	options = append(options, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = goleak.Find(options...); err == nil {
			return nil
		}
	}
	return err
}

// patience bounds what would hang. No test says anything by it.
const patience = 2 * time.Minute
