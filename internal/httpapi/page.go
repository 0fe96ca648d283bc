package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the links and the icon
	"encoding/base64"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

//go:embed links.html
var linksSource string

//go:embed links.css
var linksStyle string

//go:embed favicon.svg
var favicon []byte

// HandlePage has a browser that asks for GET / get a page of the service's own, in
// place of the links to its endpoints. As on all of its own routes, a token is
// needed where there are any; programs get the endpoints as before. The page is
// asked with none but the query parameters named.
func (rt *Router) HandlePage(handler http.HandlerFunc, parameters ...string) {
	handler = rt.guarded(knownParameters(parameters, rt.own.bounded(handler)))
	rt.endpoints.Lock()
	defer rt.endpoints.Unlock()
	rt.endpoints.page = handler
}

// links is the page of a service that has no other: its endpoints, to click on.
type links struct {
	text   *template.Template
	policy string
}

func newLinks() links {
	sum := sha256.Sum256([]byte(linksStyle))
	return links{
		text: template.Must(template.New("links").Parse(linksSource)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
	}
}

// linkedEndpoint is one of them: its method, its path, and whether a click asks for it.
type linkedEndpoint struct {
	Method, Path string
	Link         bool
}

func (l links) write(w http.ResponseWriter, service, version string, endpoints []string) {
	all := make([]linkedEndpoint, len(endpoints))
	for i, e := range endpoints {
		method, path, _ := strings.Cut(e, " ")
		all[i] = linkedEndpoint{method, path, method == http.MethodGet && !strings.Contains(path, "{") && path != "/"}
	}
	_ = WritePage(w, http.StatusOK, l.policy, l.text, map[string]any{
		"Service": service, "Version": version, "Endpoints": all, "Style": template.CSS(linksStyle), //nolint:gosec // embedded
	})
}

// WritePage answers with a page for people. policy is its Content-Security-Policy:
// what else than its text a browser may load and run. A page that cannot be made
// is answered with a problem, and the error returned.
func WritePage(w http.ResponseWriter, status int, policy string, page *template.Template, data any) error {
	var text bytes.Buffer
	if err := page.Execute(&text, data); err != nil {
		WriteProblem(w, Problem{Type: Fault, Detail: "The page could not be made."})
		return fmt.Errorf("make page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	_, _ = text.WriteTo(w) // the client is gone if this fails
	return nil
}

// WantsPage says whether a client would rather have a page than JSON, as browsers
// do: who names neither, or both alike, gets JSON (RFC 9110 section 12.5.1).
func WantsPage(r *http.Request) bool {
	page, data := 0.0, 0.0
	for item := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, parameters, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		quality, err := strconv.ParseFloat(parameters["q"], 64)
		if err != nil {
			quality = 1
		}
		switch kind {
		case "text/html":
			page = quality
		case "application/json":
			data = quality
		}
	}
	return page > data
}
