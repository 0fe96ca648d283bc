//go:build integration && unix

package monitoring_test

import (
	"flag"
	"io"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/vigie-dev/vigie/monitoring/internal/servers"
	"github.com/vigie-dev/vigie/monitoring/internal/stack"
)

var update = flag.Bool("update", false, "record the exporters' pages anew in testdata")

// exporters are the servers whose pages are recorded, by the pages' names.
func exporters(s *stack.Stack) map[string]*servers.Server {
	return map[string]*servers.Server{
		"kafka": s.JMXExporter, "node": s.NodeExporter, "prometheus": s.Prometheus, "alertmanager": s.Alertmanager,
	}
}

// fetch reads a page.
func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, response.Status, err)
	}
	return string(body)
}

// record keeps a page without what names this machine.
func record(t *testing.T, path, page string) {
	t.Helper()
	for pattern, replacement := range map[string]string{
		`nodename="[^"]*"`:                  `nodename="host"`,
		`(address)="[0-9a-f:]{17}"`:         `$1="02:00:00:00:00:01"`,
		`"(/[^"]*)?/(tmp|work|root)/[^"]*"`: `"/path"`,
	} {
		page = regexp.MustCompile(pattern).ReplaceAllString(page, replacement)
	}
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}
