package httpapi_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

// Every answer protects its readers, whatever its status and whoever wrote it.
func TestSecurityHeaders(t *testing.T) {
	rt := own(httpapi.Config{OpenAPI: []byte("openapi: 3.1.0\n")}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			panic("a fault")
		}
		_, _ = w.Write([]byte("bare"))
	})
	for _, request := range []string{"GET /", "GET /health", "GET /health/ready", "GET /metrics", "GET /openapi.yaml", "GET /things", "POST /things", "GET /nowhere", "PUT /things", "GET //"} {
		for _, secured := range []bool{false, true} {
			method, target, _ := strings.Cut(request, " ")
			r := httptest.NewRequest(method, target, nil)
			if secured {
				r.TLS = &tls.ConnectionState{}
			}
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			want := map[string]string{
				"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
				"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Strict-Transport-Security": "",
			}
			if secured {
				want["Strict-Transport-Security"] = "max-age=31536000"
			}
			if request == "GET /openapi.yaml" {
				want["Cache-Control"], want["Content-Type"] = "max-age=300", "application/yaml"
			}
			for name, value := range want {
				if got := w.Result().Header.Get(name); got != value {
					t.Errorf("%s, secured %v: %s is %q, want %q", request, secured, name, got, value)
				}
			}
			if got := w.Result().Header.Get("Content-Length"); got != strconv.Itoa(w.Body.Len()) {
				t.Errorf("%s has Content-Length %q, %d bytes", request, got, w.Body.Len())
			}
			if w.Result().Header.Get("Content-Type") == "" {
				t.Errorf("%s has no type", request)
			}
		}
	}
}
