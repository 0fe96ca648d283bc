//go:build !race || whole

package system_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

func TestHealth(t *testing.T) {
	bank.Parallel(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /waiting", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, `{"status":503,"detail":"Not ready: kafka: away."}`)
	})
	mux.HandleFunc("GET /silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	defer server.Close()
	const gone = "127.0.0.1:1"
	for name, tt := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"ready":                 {[]string{server.URL}, 0, "ready: " + server.URL},
		"a path is kept":        {[]string{server.URL + "/health/ready"}, 0, "ready"},
		"the reason":            {[]string{server.URL + "/waiting"}, 1, "Not ready: kafka: away."},
		"no problem document":   {[]string{server.URL + "/nothing"}, 1, "404 Not Found"},
		"one of two":            {[]string{server.URL, server.URL + "/waiting"}, 1, "/waiting is not healthy"},
		"nobody there":          {[]string{"http://" + gone}, 1, "nothing listens there"},
		"no answer":             {[]string{"--timeout", "50ms", server.URL + "/silent"}, 1, "no answer in time"},
		"no URL":                {[]string{"127.0.0.1:3001"}, 2, "is not a URL"},
		"another scheme":        {[]string{"ftp://127.0.0.1"}, 2, "is not a URL"},
		"the services' default": {[]string{"--commande-addr", gone + ",127.0.0.1:0"}, 1, "http://" + gone + "/health/ready does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			p := bank.Launch(t, append([]string{"health", "--timeout", "10m"}, tt.args...)...)
			<-p.Done
			text := p.Stdout.String() + p.Stderr.String()
			if p.Status != tt.status || !strings.Contains(text, tt.want) {
				t.Errorf("vigie health %v = %d: %q, want %d and %q", tt.args, p.Status, text, tt.status, tt.want)
			}
			if strings.Count(text, "\n") != 1 {
				t.Errorf("want one line, got %q", text)
			}
		})
	}
}

// Without a URL it checks the services where their flags say that they listen.
func TestHealthOfARunningSystem(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	var args []string
	for name, url := range s.URLs {
		args = append(args, "--"+name+"-addr", strings.TrimPrefix(url, "http://"))
	}
	p := bank.Launch(t, append([]string{"health", "--timeout", "10m"}, args...)...)
	<-p.Done
	if p.Status != 0 || strings.Count(p.Stdout.String(), "http://") != len(s.URLs) {
		t.Errorf("vigie health = %d: %s%s", p.Status, p.Stdout, p.Stderr)
	}
}
