//go:build !race

package otelhttpserver

const raceDetector = false
