//go:build race

package otelhttpserver

// raceDetector says that the race detector is on: it allocates, and makes everything slow.
const raceDetector = true
