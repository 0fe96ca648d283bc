// Package leaks fails a test program that leaves goroutines behind. Only tests use it.
package leaks

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience bounds what would hang. A goroutine ends as soon as the machine gets round to it, which goleak alone waits
// for only a second.
const patience = 2 * time.Minute

// Main runs the tests and ends the program: with their status, or with 1 where they passed and left goroutines behind,
// which it prints. It is for TestMain.
func Main(tests interface{ Run() int }, options ...goleak.Option) {
	status := tests.Run()
	if status == 0 {
		if err := find(options...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
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
