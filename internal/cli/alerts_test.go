package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// notify sends a notification of that body and returns the answer's status and
// what was logged, a line per record.
func notify(t *testing.T, body string) (int, []map[string]any) {
	t.Helper()
	var log bytes.Buffer
	sink := newAlertSink(slog.New(slog.NewJSONHandler(&log, nil)))
	answer := httptest.NewRecorder()
	sink.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/alerts", strings.NewReader(body)))
	var records []map[string]any
	for decoder := json.NewDecoder(&log); ; {
		var r map[string]any
		if err := decoder.Decode(&r); err == io.EOF {
			return answer.Code, records
		} else if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
}

// alertText is an alert as Alertmanager sends it.
func alertText(name, severity, status string) string {
	return fmt.Sprintf(`{"status":%q,"labels":{"alertname":%q,"severity":%q,"service":"paiement"},
		"annotations":{"summary":"It is so","runbook_url":"https://example.org/runbook","dashboard_url":"http://localhost:3000/d/x"},"fingerprint":"1","unknown":[1]}`, status, name, severity)
}

// Every alert of a notification is logged with its urgency and everything
// needed to act on it.
func TestAlertsAreLogged(t *testing.T) {
	status, records := notify(t, `{"version":"4","receiver":"log","status":"firing","alerts":[`+
		alertText("A", "critical", "firing")+","+alertText("B", "warning", "firing")+","+alertText("C", "critical", "resolved")+`]}`)
	if status != http.StatusOK || len(records) != 3 {
		t.Fatalf("status %d, %d records", status, len(records))
	}
	for i, want := range []struct{ level, message, alert, severity, status string }{
		{"ERROR", "alert firing", "A", "critical", "firing"},
		{"WARN", "alert firing", "B", "warning", "firing"},
		{"INFO", "alert resolved", "C", "critical", "resolved"},
	} {
		for name, value := range map[string]string{
			"level": want.level, "msg": want.message, "alert": want.alert, "severity": want.severity, "status": want.status,
			"summary": "It is so", "runbook": "https://example.org/runbook", "dashboard": "http://localhost:3000/d/x",
		} {
			if records[i][name] != value {
				t.Errorf("alert %s: %s is %v, want %s", want.alert, name, records[i][name], value)
			}
		}
	}
}

// What is sent cannot make the sink hold or write without bound.
func TestNotificationsAreBounded(t *testing.T) {
	many := strings.Repeat(alertText("A", "warning", "firing")+",", maxAlertsLogged) + alertText("last", "warning", "firing")
	status, records := notify(t, `{"version":"4","truncatedAlerts":2,"alerts":[`+many+`]}`)
	if status != http.StatusOK || len(records) != maxAlertsLogged+1 {
		t.Fatalf("status %d, %d records, want %d", status, len(records), maxAlertsLogged+1)
	}
	if end := records[maxAlertsLogged]; end["msg"] != "alerts left out" || end["count"] != 3. {
		t.Errorf("the last record is %v, want 3 alerts left out", end)
	}
	long := "x" + strings.Repeat("é", maxAlertText)
	_, records = notify(t, `{"version":"4","alerts":[`+alertText(long, "warning", "firing")+`]}`)
	name, _ := records[0]["alert"].(string)
	if !strings.HasSuffix(name, "é…") || len(name) > maxAlertText+len("…") {
		t.Errorf("logged a name of %d bytes that ends in %q", len(name), name[max(0, len(name)-8):])
	}
}

func TestNotificationsThatCannotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"no JSON":         {"alert!", http.StatusBadRequest},
		"another version": {`{"version":"5","alerts":[` + alertText("A", "warning", "firing") + `]}`, http.StatusBadRequest},
		"no version":      {`{}`, http.StatusBadRequest},
		"too large":       {`{"version":"4","receiver":"` + strings.Repeat("x", maxNotification) + `"}`, http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if status, records := notify(t, tt.body); status != tt.want || len(records) != 0 {
				t.Errorf("status %d, %d records; want %d and none", status, len(records), tt.want)
			}
		})
	}
}
