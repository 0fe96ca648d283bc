//go:build race

package telemetry

// raceDetector says that the race detector is on: it allocates, and makes everything slow.
const raceDetector = true
