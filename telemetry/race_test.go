//go:build race

package telemetry_test

// raceDetector says that the race detector is on: it allocates, and makes everything slow.
const raceDetector = true
