//go:build !race

package otelkafka

const raceDetector = false
