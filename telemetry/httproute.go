package telemetry

import (
	"net/http"
	"strings"
)

// Values of the labels route, method and status_code for what has no value of its own.
const (
	RouteUnmatched = "unmatched" // no registered pattern matched
	LabelOther     = "_OTHER"    // outside the known values
)

// RoutePattern returns the pattern that [http.ServeMux] matched, without its method and host: "/orders/{id}" for
// "GET /orders/{id}". It returns "" if nothing matched.
func RoutePattern(r *http.Request) string {
	_, pattern, found := strings.Cut(r.Pattern, " ")
	if !found {
		pattern = r.Pattern
	}
	slash := strings.IndexByte(pattern, '/')
	if slash < 0 {
		return ""
	}
	return strings.TrimSpace(pattern[slash:])
}

// knownMethod returns the method if it is one of RFC 9110 section 9.3 or RFC 5789, else other. Methods are case
// sensitive.
func knownMethod(method, other string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	case "":
		return http.MethodGet
	default:
		return other
	}
}
