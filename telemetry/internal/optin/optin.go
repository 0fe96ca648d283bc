// Package optin reads which semantic conventions a process asks for, in the one place for all that follow them.
//
// OpenTelemetry has one variable for it, by which instrumentations of all libraries are moved to newer names together:
// OTEL_SEMCONV_STABILITY_OPT_IN, a list such as "http,messaging/dup".
// See https://opentelemetry.io/docs/specs/semconv/messaging/.
package optin

import (
	"os"
	"strings"
)

// Variable is the name of the variable.
const Variable = "OTEL_SEMCONV_STABILITY_OPT_IN"

// Newest says whether the newest conventions of a domain ("http", "messaging") are asked for, with "/dup" or without:
// the two differ for names that others have replaced, and of these there is none yet.
func Newest(domain string) bool {
	for value := range strings.SplitSeq(os.Getenv(Variable), ",") {
		if value = strings.TrimSpace(value); value == domain || value == domain+"/dup" {
			return true
		}
	}
	return false
}
