// Package leaks finds the goroutines that tests leave behind. Only tests use it.
package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds what would hang. A goroutine ends as soon as the machine gets round to it, which goleak alone waits
// for only a second.
const patience = 2 * time.Minute

// Main runs the tests and ends the program: with their status, or with 1 where they passed and left goroutines behind,
// which it prints. It is for TestMain.
func Main(m *testing.M) {
	status := m.Run()
	if status == 0 {
		if err := find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// None fails the test if it leaves goroutines beyond those that are there now.
func None(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := find(before); err != nil {
			t.Error(err)
		}
	})
}

// find waits for goroutines to end and returns those that do not. Sarama's metrics arbiter has no stop.
func find(options ...goleak.Option) (err error) {
	options = append(options, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err = goleak.Find(options...); err == nil {
			return nil
		}
	}
	return err
}
