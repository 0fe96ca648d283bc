//go:build !race || whole

package system_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testcontract "github.com/vigie-dev/vigie/internal/testenv/contract"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/paiement"
)

// Each service serves its document, which has exactly the endpoints that the
// service lists, and those are the routes that it has.
func TestOpenAPIDocuments(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	for _, service := range services.All() {
		name, url := service.Name, s.URLs[service.Name]
		status, body := bank.Get(t, url+"/openapi.yaml")
		if want, err := httpapi.OpenAPI(name, service.OpenAPI); err != nil || status != http.StatusOK || body != string(want) {
			t.Errorf("%s serves %d and %d bytes, its document has %d, %v", name, status, len(body), len(want), err)
		}
		d, err := testcontract.Load([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var root struct{ Endpoints []string }
		bank.GetJSON(t, url+"/", &root)
		slices.Sort(root.Endpoints)
		if want := d.Operations(); !slices.Equal(root.Endpoints, want) {
			t.Errorf("%s has %v, its document %v", name, root.Endpoints, want)
		}
	}
}

// What clients do wrong is answered as described; what is expected of them all
// is that the transport does not complain.
func TestRefusalsAreAsDescribed(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	for _, tt := range []struct {
		method, url, body, header string
		want                      httpapi.ProblemType // "" for none
	}{
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":1}`, "Idempotency-Key: one", ""},
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":1}`, "Idempotency-Key: one", ""}, // replayed
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":2}`, "Idempotency-Key: one", httpapi.KeyReused},
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":1}`, `Idempotency-Key: "`, httpapi.InvalidRequest},
		{"POST", s.Commande + "/orders", "", "", httpapi.InvalidRequest},
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":1.005}`, "", httpapi.InvalidRequest},
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":1}`, "Sec-Fetch-Site: cross-site", httpapi.ForeignPage},
		{"POST", s.Commande + "/orders", strings.Repeat(" ", 65537), "", httpapi.LargeBody},
		{"GET", s.Commande + "/orders", "", "", httpapi.WrongMethod},
		{"GET", s.Commande + "/nothing", "", "", httpapi.UnknownResource},
		{"HEAD", s.Commande + "/openapi.yaml", "", "", ""},
		{"GET", s.Suivi + "/orders?limit=501", "", "", httpapi.InvalidRequest},
		{"GET", s.Suivi + "/orders?cursor=mine", "", "", httpapi.InvalidRequest},
		{"GET", s.Suivi + "/orders/order-0/status", "", "", httpapi.UnknownOrder},
		{"GET", s.Analyseur + "/recent-transactions?limit=none", "", "", httpapi.InvalidRequest},
		{"DELETE", s.Analyseur + "/statistics", "", "", httpapi.WrongMethod},
		{"POST", s.Paiement + "/health", "", "", httpapi.WrongMethod},
		{"POST", s.Commande + "/orders", `{"userId":"user123","amount":1}`, "Content-Encoding: gzip", httpapi.EncodedBody},
		{"POST", s.Commande + "/orders?dry-run=1", `{"userId":"user123","amount":1}`, "", httpapi.InvalidRequest},
		{"GET", s.Suivi + "/orders/order-1/status?verbose=1", "", "", httpapi.InvalidRequest},
		{"GET", s.Analyseur + "/statistics?since=today", "", "", httpapi.InvalidRequest},
		{"GET", s.Paiement + "/health/ready?verbose", "", "", httpapi.InvalidRequest},
		{"GET", s.Paiement + "/metrics?name[]=http_requests", "", "", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			r.Header.Set(name, value)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			continue
		}
		var p httpapi.Problem
		if answer.StatusCode >= http.StatusBadRequest {
			err = json.NewDecoder(answer.Body).Decode(&p)
		}
		answer.Body.Close()
		if err != nil || p.Type != tt.want || p.Status != 0 && p.Status != answer.StatusCode {
			t.Errorf("%s %s: %d %+v, %v; want %q", tt.method, tt.url, answer.StatusCode, p, err, tt.want)
		}
	}
}

// The check itself: an answer that says other than the document is an error.
func TestAContractThatIsBrokenIsNoticed(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	all, err := bank.Documents()
	if err == nil {
		err = bank.Contracts.Expect(s.Commande, all[paiement.Name]) // not commande's
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/health", "/orders"} {
		if path == "/orders" {
			_, _, err = s.Order("user123", "1")
		} else {
			_, err = http.Get(s.Commande + path) //nolint:bodyclose // there is none with an error
		}
		if err == nil || !strings.Contains(fmt.Sprint(err), "otherwise than its document says") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
