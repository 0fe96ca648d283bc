package sentinelle

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/faults"
)

// breakableSite is a site where the light can be broken.
func breakableSite(t *testing.T) *site {
	t.Helper()
	around := surroundings()
	around.Faults = faults.New(slog.New(slog.DiscardHandler), faults.Fault{
		Name: "light", Does: "It is dark.", Alert: "Dark", Leaves: "a smell",
		Run: func(ctx context.Context, inForce func()) error { inForce(); <-ctx.Done(); return nil },
	})
	t.Cleanup(func() { _ = around.Faults.Close(context.WithoutCancel(t.Context())) })
	return openSite(t, healthyBank(), around)
}

// post is a request to an address of this machine, unless a header says otherwise.
func (s *site) post(t *testing.T, path, accept string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("for=1m"))
	r.Host = "127.0.0.1:3005"
	r.Header.Set("Accept", accept)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// A fault in force is told on every page and to programs, until it is stopped.
func TestAFaultIsStartedToldAndStopped(t *testing.T) {
	s := breakableSite(t)
	if text := s.read(t, "/faults", 200); !strings.Contains(text, "It is dark.") || !strings.Contains(text, "It leaves a smell.") || strings.Contains(text, "Fault in force") {
		t.Errorf("the page of faults: %s", text)
	}
	if w := s.post(t, "/faults/light/start", "text/html", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/faults" {
		t.Fatalf("start: %d %s", w.Code, w.Body)
	}
	s.look(t)
	for _, path := range []string{"/", "/alerts", "/faults"} {
		if text := s.read(t, path, 200); !strings.Contains(text, "Fault in force: light.") {
			t.Errorf("%s does not tell of the fault", path)
		}
	}
	var state struct{ Faults []faults.Status }
	if s.getJSON(t, "/state", &state); len(state.Faults) != 1 || !state.Faults[0].InForce {
		t.Errorf("state: %+v", state)
	}
	if w := s.post(t, "/faults/light/start", "text/html", nil); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "in force already") {
		t.Errorf("start it again: %d %s", w.Code, w.Body)
	}
	var stopped StoppedFaults
	w := s.post(t, "/faults/stop", "application/json", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &stopped); err != nil || len(stopped.Stopped) != 1 {
		t.Errorf("stop: %d %s", w.Code, w.Body)
	}
	var list FaultList
	if s.getJSON(t, "/faults", &list); len(list.Faults) != 1 || list.Faults[0].InForce {
		t.Errorf("afterwards: %+v", list)
	}
}

// Neither a page of another site nor one whose name was made to lead here breaks
// anything, and elsewhere nobody can.
func TestWhoMayBreakNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		path   string
		change func(*http.Request)
		status int
	}{
		"a page of another site":       {"/faults/light/start", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"a name that leads here":       {"/faults/light/start", func(r *http.Request) { r.Host = "evil.example:3005" }, 403},
		"an address of the network":    {"/faults/light/start", func(r *http.Request) { r.Host = "192.0.2.1:3005" }, 403},
		"a fault that there is not":    {"/faults/moon/start", nil, 404},
		"a stop of one that is not":    {"/faults/moon/stop", nil, 404},
		"by this machine's own name":   {"/faults/light/start", func(r *http.Request) { r.Host = "localhost:3005" }, 200},
		"by its address of version 6":  {"/faults/light/start", func(r *http.Request) { r.Host = "[::1]:3005" }, 200},
		"a stop of what is well":       {"/faults/light/stop", nil, 200},
		"a time that is none":          {"/faults/light/start", func(r *http.Request) { r.Body = http.NoBody; r.URL.RawQuery = "for=2m" }, 400},
		"a page of this one's own":     {"/faults/stop", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, 200},
		"another site stops all":       {"/faults/stop", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"without a Host, as HTTP/1.0":  {"/faults/light/start", func(r *http.Request) { r.Host = "" }, 403},
		"a name that begins like ours": {"/faults/light/start", func(r *http.Request) { r.Host = "localhost.evil.example" }, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s := breakableSite(t)
			w := s.post(t, tt.path, "application/json", tt.change)
			if w.Code != tt.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.status)
			}
			started := len(s.page.around.Faults.InForce()) == 1
			if want := tt.status == 200 && strings.HasSuffix(tt.path, "start"); started != want {
				t.Errorf("in force: %v", started)
			}
		})
	}
	// Who had to show a token may come by any name; a page of another site still may not.
	tokened := breakableSite(t)
	tokened.page.around.FaultsByToken = true
	byName := func(r *http.Request) { r.Host = "vigie.example:3005" }
	if w := tokened.post(t, "/faults/light/start", "application/json", byName); w.Code != http.StatusOK {
		t.Errorf("with a token, by a name: %d %s", w.Code, w.Body)
	}
	crossSite := func(r *http.Request) { byName(r); r.Header.Set("Sec-Fetch-Site", "cross-site") }
	if w := tokened.post(t, "/faults/stop", "application/json", crossSite); w.Code != http.StatusForbidden {
		t.Errorf("with a token, from a page of another site: %d %s", w.Code, w.Body)
	}
	s := openSite(t, healthyBank(), surroundings())
	if w := s.post(t, "/faults/light/start", "application/json", nil); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "vigie up") {
		t.Errorf("where there is none: %d %s", w.Code, w.Body)
	}
	if text := s.read(t, "/", 200); strings.Contains(text, "/faults") {
		t.Error("the page offers faults where there are none")
	}
}
