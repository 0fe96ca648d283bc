//go:build linux

package telemetry

import (
	"time"

	"github.com/prometheus/procfs"
)

// residentSet returns the process's resident set in bytes from /proc/self/stat, and whether it could be read.
func residentSet() (int64, bool) {
	self, err := procfs.Self()
	if err != nil {
		return 0, false
	}
	stat, err := self.Stat()
	if err != nil {
		return 0, false
	}
	return int64(stat.ResidentMemory()), true
}

// processAge returns how long ago the process started, or 0 if /proc does not say.
func processAge() time.Duration {
	self, err := procfs.Self()
	if err != nil {
		return 0
	}
	stat, err := self.Stat()
	if err != nil {
		return 0
	}
	started, err := stat.StartTime()
	if err != nil {
		return 0
	}
	return max(0, time.Since(time.UnixMilli(int64(started*1000))))
}
