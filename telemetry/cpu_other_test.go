//go:build !unix

package telemetry_test

import "time"

// cpuTime makes do with the clock.
func cpuTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
