package httpapi

import (
	"maps"
	"net/http"
)

// protect sets the headers that keep browsers from doing more with an answer
// than showing it: guess its type, run or embed what it holds, keep it, or tell
// others where it came from. Answers are data, so everything can be forbidden.
//
// See the Fetch standard (nosniff), Content Security Policy Level 3, RFC 9111
// (no-store) and RFC 6797 (Strict-Transport-Security, over TLS alone).
func protect(h http.Header, r *http.Request, protection http.Header) {
	maps.Copy(h, protection) // values of one each: whoever adds to one gets a slice of its own
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// protections are the headers of every answer, made once.
func protections() http.Header {
	return http.Header{
		"X-Content-Type-Options":  {"nosniff"},
		"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
		"Referrer-Policy":         {"no-referrer"},
		"Cache-Control":           {"no-store"},
	}
}
