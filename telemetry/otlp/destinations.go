package otlp

import "fmt"

// Destinations says for people where the environment sends traces and logs: an OTLP endpoint with its protocol, or
// the standard output. "" is nowhere.
func Destinations() (tracesTo, logsTo string) {
	return traces().destination(), logs().destination()
}

func (s signal) destination() string {
	switch s.exporter() {
	case exporterNone:
		return ""
	case exporterConsole:
		return "the standard output"
	default:
		return fmt.Sprintf("%s (OTLP, %s)", s.endpoint(), s.protocol())
	}
}
