package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	testcontract "github.com/vigie-dev/vigie/internal/testenv/contract"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
)

// contracts holds every answer that the tests of this package get from a
// service against the service's OpenAPI document.
var contracts = &testcontract.Transport{Base: http.DefaultTransport}

func openAPI(name string) []byte {
	return map[string]func() []byte{
		commande.Name: commande.OpenAPI, suivi.Name: suivi.OpenAPI, analyseur.Name: analyseur.OpenAPI, paiement.Name: paiement.OpenAPI,
	}[name]()
}

// documents are read once: that takes longer than an answer does.
var documents = sync.OnceValues(func() (map[string]*testcontract.Document, error) {
	all := map[string]*testcontract.Document{}
	for _, name := range []string{commande.Name, suivi.Name, analyseur.Name, paiement.Name} {
		d, err := testcontract.Load(openAPI(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = d
	}
	return all, nil
})

// expectContracts has the system's answers checked until the test is over.
func (s *system) expectContracts(t testing.TB) {
	t.Helper()
	all, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range s.services() {
		if err := contracts.Expect(url, all[name]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = contracts.Expect(url, nil) })
	}
}

// Each service serves its document, which has exactly the endpoints that the
// service lists, and those are the routes that it has.
func TestOpenAPIDocuments(t *testing.T) {
	s := startSystem(t, t.TempDir())
	for name, url := range s.services() {
		status, body := get(t, url+"/openapi.yaml")
		if status != http.StatusOK || body != string(openAPI(name)) {
			t.Errorf("%s serves %d and %d bytes, its document has %d", name, status, len(body), len(openAPI(name)))
		}
		d, err := testcontract.Load([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var root struct{ Endpoints []string }
		getJSON(t, url+"/", &root)
		slices.Sort(root.Endpoints)
		if want := d.Operations(); !slices.Equal(root.Endpoints, want) {
			t.Errorf("%s has %v, its document %v", name, root.Endpoints, want)
		}
	}
}

// What the documents have in common says the same in each.
func TestOpenAPIDocumentsAgree(t *testing.T) {
	whole := func(name string) map[string]any {
		text := strings.ReplaceAll(string(openAPI(name)), name, "SERVICE")
		var d struct {
			Paths      map[string]any
			Components map[string]map[string]any
		}
		decodeYAML(t, text, &d)
		parts := map[string]any{}
		for path, item := range d.Paths {
			parts["path "+path] = item
		}
		for kind, named := range d.Components {
			for n, part := range named {
				parts[kind+" "+n] = part
			}
		}
		return parts
	}
	common := whole(paiement.Name)
	for _, name := range []string{commande.Name, suivi.Name, analyseur.Name} {
		other := whole(name)
		for part, want := range common {
			if part == "schemas Root" || part == "responses Busy" { // these list the service's own
				continue
			}
			if a, b := encoded(t, want), encoded(t, other[part]); a != b {
				t.Errorf("%s of %s is\n%s\nand of paiement\n%s", part, name, b, a)
			}
		}
	}
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What clients do wrong is answered as described; what is expected of them all
// is that the transport does not complain.
func TestRefusalsAreAsDescribed(t *testing.T) {
	s := startSystem(t, t.TempDir())
	for _, tt := range []struct {
		method, url, body, origin string
		status                    int
		key                       string
	}{
		{"POST", s.commande + "/orders", `{"userId":"user123","amount":1}`, "", 201, "one"},
		{"POST", s.commande + "/orders", `{"userId":"user123","amount":1}`, "", 201, "one"}, // replayed
		{"POST", s.commande + "/orders", `{"userId":"user123","amount":2}`, "", 422, "one"},
		{"POST", s.commande + "/orders", `{"userId":"user123","amount":1}`, "", 400, `"`},
		{"POST", s.commande + "/orders", "", "", 400, ""},
		{"POST", s.commande + "/orders", `{"userId":"user123","amount":1.005}`, "", 400, ""},
		{"POST", s.commande + "/orders", `{"userId":"user123","amount":1}`, "cross-site", 403, ""},
		{"POST", s.commande + "/orders", strings.Repeat(" ", 65537), "", 413, ""},
		{"GET", s.commande + "/orders", "", "", 405, ""},
		{"GET", s.commande + "/nothing", "", "", 404, ""},
		{"HEAD", s.commande + "/openapi.yaml", "", "", 200, ""},
		{"GET", s.suivi + "/orders?limit=501", "", "", 400, ""},
		{"GET", s.suivi + "/orders?cursor=mine", "", "", 400, ""},
		{"GET", s.suivi + "/orders/order-0/status", "", "", 404, ""},
		{"GET", s.analyseur + "/recent-transactions?limit=none", "", "", 400, ""},
		{"DELETE", s.analyseur + "/statistics", "", "", 405, ""},
		{"POST", s.paiement + "/health", "", "", 405, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.key != "" {
			r.Header.Set("Idempotency-Key", tt.key)
		}
		if tt.origin != "" {
			r.Header.Set("Sec-Fetch-Site", tt.origin)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			continue
		}
		answer.Body.Close()
		if answer.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.url, answer.StatusCode, tt.status)
		}
	}
}

// The check itself: an answer that says other than the document is an error.
func TestAContractThatIsBrokenIsNoticed(t *testing.T) {
	s := startSystem(t, t.TempDir())
	d, err := testcontract.Load(openAPI(paiement.Name)) // not commande's
	if err == nil {
		err = contracts.Expect(s.commande, d)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/health", "/orders"} {
		if path == "/orders" {
			_, _, err = s.order("user123", "1")
		} else {
			_, err = http.Get(s.commande + path) //nolint:bodyclose // there is none with an error
		}
		if err == nil || !strings.Contains(fmt.Sprint(err), "otherwise than its document says") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
