package top

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/promapi"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// noon is when the tests look.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func theServices() []Service {
	return []Service{
		{Name: "commande"}, {Name: "suivi", Group: "suivi-svc"}, {Name: "analyseur", Group: "analyseur-svc"},
		{Name: "paiement", Group: "paiement-svc"}, {Name: "sentinelle"},
	}
}

// series is a sample with its labels, as Prometheus' API writes it.
type series struct {
	labels map[string]string
	value  string
}

// of makes series with one label each, from name and value pairs.
func of(label string, pairs ...string) []series {
	var out []series
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, series{map[string]string{label: pairs[i]}, pairs[i+1]})
	}
	return out
}

// prometheus is a fake that answers queries by their names, and rules.
type prometheus struct {
	answers map[string][]series // by the names in queries; nil for none
	rules   string              // the JSON of the groups
	status  int                 // of every answer; 0 for 200
}

func (p prometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if p.status != 0 {
		w.WriteHeader(p.status)
		fmt.Fprint(w, `{"status":"error","errorType":"internal","error":"it is broken"}`)
		return
	}
	if r.URL.Path == "/api/v1/rules" {
		fmt.Fprintf(w, `{"status":"success","data":{"groups":[%s]}}`, p.rules)
		return
	}
	result := []any{}
	for name, query := range queries() {
		if query != r.FormValue("query") {
			continue
		}
		for _, s := range p.answers[name] {
			result = append(result, map[string]any{"metric": s.labels, "value": []any{noon.Unix(), s.value}})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
}

// watch makes a watcher of a fake Prometheus.
func watch(t *testing.T, p prometheus) Watcher {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return watchAt(t, server.URL)
}

func watchAt(t *testing.T, url string) Watcher {
	t.Helper()
	client, err := promapi.New(promapi.Config{URL: url, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return Watcher{Prometheus: client, Services: theServices(), Now: func() time.Time { return noon }}
}
