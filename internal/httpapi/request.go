package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// hasPath says whether a request asks for a path, and answers where it does
// not: the forms "*" and "host:port" of a target (RFC 9112 section 3.2) are for
// servers as a whole and for proxies. The absolute form has a path.
func hasPath(w http.ResponseWriter, r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, "/") {
		return true
	}
	WriteProblem(w, Problem{Type: InvalidRequest, Detail: "The request target has to begin with /; GET / lists what there is."})
	return false
}

// plainBody has only requests to the handler whose body is as it was written:
// one that is compressed would be read as something else.
func plainBody(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, list := range r.Header.Values("Content-Encoding") {
			for coding := range strings.SplitSeq(list, ",") {
				if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
					w.Header().Set("Accept-Encoding", "identity") // RFC 9110 section 15.5.16
					WriteProblem(w, Problem{Type: EncodedBody, Detail: "The body is encoded; only bodies without a Content-Encoding are accepted."})
					return
				}
			}
		}
		handler(w, r)
	}
}

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
