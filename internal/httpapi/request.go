package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// knownParameters has only requests to the handler whose query has none but the
// parameters named, each once; those whose names end in [] may come several
// times. A filter that is misspelt would otherwise show everything.
func knownParameters(known []string, handler http.HandlerFunc) http.HandlerFunc {
	known = slices.Sorted(slices.Values(known))
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			handler(w, r)
			return
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			WriteProblem(w, Problem{Type: InvalidRequest, Field: "query", Problem: "is malformed", Detail: "The query is malformed."})
			return
		}
		for name, values := range query {
			switch {
			case !slices.Contains(known, name):
				refuseParameter(w, name, "is not known here", known)
				return
			case len(values) > 1 && !strings.HasSuffix(name, "[]"):
				refuseParameter(w, name, "is given more than once", known)
				return
			}
		}
		handler(w, r)
	}
}

// refuseParameter names the parameter where its name looks like one.
func refuseParameter(w http.ResponseWriter, name, problem string, known []string) {
	accepted := "no parameters"
	if len(known) > 0 {
		accepted = strings.Join(known, ", ") + ", each at most once"
	}
	p := Problem{Type: InvalidRequest, Field: "query", Problem: problem, Accepted: accepted}
	p.Detail = "A query parameter " + problem + "; accepted: " + accepted + "."
	if isRequestID(strings.TrimSuffix(name, "[]")) {
		p.Field, p.Detail = name, "The query parameter "+name+" "+problem+"; accepted: "+accepted+"."
	}
	WriteProblem(w, p)
}
