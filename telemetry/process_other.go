//go:build !linux

package telemetry

import "time"

// residentSet reports that this system's resident set is not read: the caller takes what the Go runtime holds
// from the system instead, which leaves out memory mapped by others (C libraries, files).
func residentSet() (int64, bool) { return 0, false }

// processAge reports that the start is not known: uptime counts from Setup.
func processAge() time.Duration { return 0 }
