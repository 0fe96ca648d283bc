//go:build !race || whole

package system_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
)

// The command serves until it is stopped, and refuses pages of others.
func TestAlertsCommand(t *testing.T) {
	bank.Parallel(t)
	p := bank.Launch(t, "alerts", "--alerts-addr", "127.0.0.1:0", "--log-format", "json")
	found := p.Stdout.Wait(t, `taken at (http://\S+)/alerts`, p.Done)
	if found == nil {
		t.Fatalf("vigie alerts ended with %d:\n%s", p.Status, p.Stderr)
	}
	if status, body := bank.Get(t, found[1]+"/health"); status != http.StatusOK || !strings.Contains(body, `"ok"`) {
		t.Errorf("GET /health = %d: %s", status, body)
	}
	for origin, want := range map[string]int{"": http.StatusOK, "https://example.org": http.StatusForbidden} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, found[1]+"/alerts",
			strings.NewReader(`{"version":"4","alerts":[`+`{"status":"firing","labels":{"alertname":"Sent","severity":"critical"}}`+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			request.Header.Set("Origin", origin)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != want {
			t.Errorf("POST /alerts from %q = %d, %v; want %d", origin, answer.StatusCode, err, want)
		}
	}
	if status := p.Stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if log := p.Stderr.String(); strings.Count(log, `"alert":"Sent"`) != 1 || !strings.Contains(log, `"service":"alerts"`) {
		t.Errorf("logged:\n%s", log)
	}
}

// A port in use is reported in one line that names the setting.
func TestAlertsCommandNamesTheSetting(t *testing.T) {
	bank.Parallel(t)
	first := bank.Launch(t, "alerts", "--alerts-addr", "127.0.0.1:0")
	taken := first.Stdout.Wait(t, `http://(\S+)/alerts`, first.Done)[1]
	p := bank.Launch(t, "alerts", "--alerts-addr", taken)
	<-p.Done
	if text := p.Stderr.String(); p.Status != 1 || !strings.Contains(text, "ALERTS_ADDR") || strings.Count(text, "\n") != 1 {
		t.Errorf("exit status %d:\n%s", p.Status, text)
	}
}
