package promapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// fake is a Prometheus that gives every question the same answer.
func fake(t *testing.T, status int, answer string) *promapi.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return dial(t, promapi.Config{URL: server.URL, MaxAnswer: 1000, Timeout: time.Minute})
}

func dial(t *testing.T, cfg promapi.Config) *promapi.Client {
	t.Helper()
	client, err := promapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestVectorIsTheValueAtOneMoment(t *testing.T) {
	client := fake(t, http.StatusOK, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"service":"suivi"},"value":[1,"2.5"]}]}}`)
	vector, err := client.Vector(t.Context(), "up", time.Unix(1, 0))
	if err != nil || len(vector) != 1 || vector[0].Value != 2.5 || vector[0].Metric["service"] != "suivi" {
		t.Errorf("%v, %v", vector, err)
	}
}

func TestRulesHaveTheirAlerts(t *testing.T) {
	client := fake(t, http.StatusOK, `{"status":"success","data":{"groups":[{"name":"g","file":"f","interval":15,"rules":[
		{"type":"alerting","name":"ServiceDown","query":"up == 0","duration":30,"health":"ok","alerts":[]},
		{"type":"alerting","name":"Watchdog","query":"vector(1)","labels":{"severity":"none"},"health":"ok","alerts":[]}]}]}}`)
	groups, err := client.Rules(t.Context())
	if err != nil || len(groups) != 1 || len(groups[0].Rules) != 2 {
		t.Errorf("%v, %v", groups, err)
	}
	var shown []string
	for _, rule := range promapi.Alerting(groups) { // the one that always fires is no trouble
		shown = append(shown, rule.Name)
	}
	if len(shown) != 1 || shown[0] != "ServiceDown" {
		t.Errorf("alerts to show: %v", shown)
	}
}

func TestWhatFailsSaysWhomItAsked(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, tt := range map[string]struct {
		client *promapi.Client
		want   string
	}{
		"refuses the query":     {fake(t, http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"parse error"}`), "query: bad_data: parse error"},
		"is something else":     {fake(t, http.StatusOK, `<html>`), "query"},
		"answers without end":   {fake(t, http.StatusOK, strings.Repeat(" ", 2000)), "request body too large"},
		"answers with a scalar": {fake(t, http.StatusOK, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`), "scalar is no vector"},
		"is not there":          {dial(t, promapi.Config{URL: gone.URL}), "does not answer (query): dial tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.client.Vector(t.Context(), "up", time.Now())
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q in one line", err, tt.want)
			}
		})
	}
}

func TestAQuestionEndsInTime(t *testing.T) {
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(func() { close(over); server.Close() })
	client := dial(t, promapi.Config{URL: server.URL, Timeout: time.Millisecond})
	if _, err := client.Vector(t.Context(), "up", time.Now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, context.DeadlineExceeded)
	}
}

func TestOnlyAURLIsAccepted(t *testing.T) {
	for _, wrong := range []string{"", "127.0.0.1:9090", "ftp://host", "http://", "http://%"} {
		if _, err := promapi.New(promapi.Config{URL: wrong}); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	client := dial(t, promapi.Config{URL: "http://me:secret@host:9090"})
	if strings.Contains(client.URL(), "secret") {
		t.Errorf("%s shows the password", client.URL())
	}
}
