package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/services"
)

// Each URL has its own line, also behind one that is not ready.
func TestHealthAsJSON(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"detail":"Kafka does not answer"}`))
		}
	}))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	status := Run(t.Context(), services.All(), []string{"vigie", "health", "--json", server.URL + "/bad", server.URL}, nil, &stdout, &stderr)
	want := `{"url":"` + server.URL + `/bad","ready":false,"reason":"` + server.URL + `/bad is not healthy: Kafka does not answer"}` + "\n" +
		`{"url":"` + server.URL + `","ready":true}` + "\n"
	if status != statusFailed || stdout.String() != want || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("health = %d\n%swant\n%s%s", status, stdout.String(), want, stderr.String())
	}
}
