package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/instance"
	"github.com/vigie-dev/vigie/services"
)

// What is shown is package top's; here is how the command is told what to show,
// and where.
func TestTopWritesOneFrame(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
	}))
	t.Cleanup(server.Close)
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		status := Run(t.Context(), services.All(), append([]string{"vigie", "top", "--prometheus-url", server.URL}, args...), nil, &out, &errs)
		return status, out.String(), errs.String()
	}
	status, text, _ := run("--once")
	if status != 0 || !strings.Contains(text, "paiement-svc   ?") || strings.Contains(text, "\x1b") {
		t.Errorf("--once = %d, a text without colours for what is no terminal:\n%q", status, text)
	}
	status, text, _ = run("--once", "--json")
	var frame struct {
		Services []struct{ Service, State string }
		Alerts   *[]any
	}
	if err := json.Unmarshal([]byte(text), &frame); err != nil || status != 0 || strings.Count(text, "\n") != 1 {
		t.Fatalf("--once --json = %d, %v: %q", status, err, text)
	}
	if len(frame.Services) != len(services.All()) || frame.Services[0].State != "unknown" || frame.Alerts != nil {
		t.Errorf("%+v", frame)
	}
	folder := t.TempDir()
	running, err := instance.Announce(t.Context(), folder, instance.Instance{Prometheus: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Close() })
	status, text, _ = run("--prometheus-url=", "--data", folder, "--once", "--json")
	if !strings.Contains(text, server.URL) || status != 0 {
		t.Errorf("beside an instance it asks another: %d, %s", status, text)
	}
	for _, tt := range [][]string{{"--json", "needs --once"}, {"", "needs a terminal"}, {"--prometheus-url=nowhere", "want a URL"}} {
		if status, _, errs := run(strings.Fields(tt[0])...); status == 0 || !strings.Contains(errs, tt[1]) {
			t.Errorf("top %s = %d, %q, want %q", tt[0], status, errs, tt[1])
		}
	}
}
