package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
)

func TestRequestIDs(t *testing.T) {
	made := regexp.MustCompile(`^[A-Z2-7]{26}$`)
	for name, tt := range map[string]struct {
		sent  string
		taken bool
	}{
		"none":               {"", false},
		"every character":    {"AZaz09._-", true},
		"the longest":        {strings.Repeat("x", 64), true},
		"too long":           {strings.Repeat("x", 65), false},
		"a blank":            {"a b", false},
		"a forged line":      {"a\nlevel=ERROR", false},
		"beyond ASCII":       {"é", false},
		"what HTML would do": {"<script>", false},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			log := httpapi.LogRequestIDs(slog.New(slog.NewJSONHandler(&text, nil))).With("service", "clerk")
			h := httpapi.Identify(own(httpapi.Config{Log: log}, func(w http.ResponseWriter, r *http.Request) {
				log.InfoContext(r.Context(), "asked")
				httpapi.WriteProblem(w, httpapi.Problem{Status: http.StatusNotFound})
			}))
			w := ask(h, http.MethodGet, "/things", httpapi.RequestID, tt.sent)
			id := w.Header().Get(httpapi.RequestID)
			if tt.taken && id != tt.sent || !tt.taken && !made.MatchString(id) {
				t.Errorf("the id is %q", id)
			}
			if got := problem(t, w, http.StatusNotFound)["requestId"]; got != id {
				t.Errorf("the problem names %v, the header %q", got, id)
			}
			var line map[string]any
			if err := json.Unmarshal([]byte(text.String()), &line); err != nil || line["request_id"] != id || line["service"] != "clerk" {
				t.Errorf("the log says %s (%v)", text.String(), err)
			}
			if again := ask(h, http.MethodGet, "/", httpapi.RequestID, tt.sent).Header().Get(httpapi.RequestID); !tt.taken && again == id {
				t.Errorf("two requests are %q", id)
			}
		})
	}
}

// Lines that belong to no request have no id.
func TestOtherLinesHaveNoRequestID(t *testing.T) {
	var text strings.Builder
	httpapi.LogRequestIDs(slog.New(slog.NewTextHandler(&text, nil))).WithGroup("g").InfoContext(t.Context(), "started", "a", 1)
	if strings.Contains(text.String(), "request_id") || !strings.Contains(text.String(), "g.a=1") {
		t.Errorf("the log says %s", text.String())
	}
}
