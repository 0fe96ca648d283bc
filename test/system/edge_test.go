package system_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
	testcontract "github.com/vigie-dev/vigie/internal/testenv/contract"
	"github.com/vigie-dev/vigie/services"
)

const edgeToken = "a-token-of-the-tests"

// guardedSystem is a system whose services speak TLS and ask for tokens.
type guardedSystem struct {
	*bank.Bank
	authority *testcerts.Authority
	tokens    string // the file
	token     string // the file with the one that clients show
	client    *http.Client
	contracts *testcontract.Transport
}

func startGuarded(t *testing.T) *guardedSystem {
	t.Helper()
	authority := testcerts.New(t, "authority")
	pair := authority.Sign(t, "vigie")
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(pem)
	g := &guardedSystem{authority: authority, tokens: filepath.Join(t.TempDir(), "tokens")}
	if err := os.WriteFile(g.tokens, []byte("# of the tests\n"+edgeToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.contracts = &testcontract.Transport{Base: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known}}}
	g.client = &http.Client{Transport: g.contracts, Timeout: bank.Patience}
	t.Cleanup(g.client.CloseIdleConnections)
	g.token = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(g.token, []byte(edgeToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--http-tls-cert-file", pair.CertFile, "--http-tls-key-file", pair.KeyFile, "--sentinelle-peers-token-file", g.token}
	for _, s := range services.All() {
		if s.Guards != "" {
			args = append(args, "--"+s.Name+"-tokens-file", g.tokens)
		}
	}
	g.Bank = bank.Start(t, t.TempDir(), args...)
	all, err := bank.Documents()
	for name, url := range g.URLs {
		if err == nil {
			err = g.contracts.Expect(url, all[name])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *guardedSystem) ask(t *testing.T, method, url, token, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := g.client.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// edgeRequest is a request to one of the system's routes, and its answer where the
// right token is given.
type edgeRequest struct {
	method, url string
	open        bool // no token is needed
	status      int
}

// edgeRequests are those to every route that tokens guard, and to some that are
// open to everyone.
func (g *guardedSystem) edgeRequests() []edgeRequest {
	requests := []edgeRequest{
		{"GET", g.Commande + "/health", true, 200},
		{"GET", g.Suivi + "/health/ready", true, 200},
		{"GET", g.Analyseur + "/metrics", true, 200},
		{"GET", g.Paiement + "/", true, 200},
		{"GET", g.Paiement + "/openapi.yaml", true, 200},
	}
	for _, s := range services.All() {
		if s.Guards == "" {
			continue
		}
		routes := s.Guards
		if s.Outside { // to programs GET / is open, as everywhere
			routes = "GET /state and GET /alerts"
		}
		for route := range strings.SplitSeq(routes, " and ") {
			method, path, _ := strings.Cut(route, " ")
			r := edgeRequest{method: method, url: g.URLs[s.Name] + strings.ReplaceAll(path, "{id}", "order-0"), status: 200}
			switch {
			case method == http.MethodPost:
				r.status = 201
			case strings.Contains(path, "{id}"):
				r.status = 404
			}
			requests = append(requests, r)
		}
	}
	return requests
}

// Certificates and tokens are asked for by every service that has them, and
// the commands that look at services have flags for them.
func TestAGuardedSystem(t *testing.T) {
	bank.Parallel(t)
	g := startGuarded(t)
	const order = `{"userId":"user123","amount":1}`
	for _, tt := range g.edgeRequests() {
		without, body := 401, ""
		if tt.method == http.MethodPost {
			body = order
		}
		if tt.open {
			without = tt.status
		}
		for token, want := range map[string]int{"": without, "another-token-than-theirs": without, edgeToken: tt.status} {
			if got := g.ask(t, tt.method, tt.url, token, body); got != want {
				t.Errorf("%s %s with token %q: %d, want %d", tt.method, tt.url, token, got, want)
			}
		}
	}
	for _, url := range g.URLs {
		if !strings.HasPrefix(url, "https://") {
			t.Errorf("the system prints %s", url)
		}
	}
	text := g.Program.Stdout.String() + g.Program.Stderr.String()
	if strings.Contains(text, edgeToken) || strings.Contains(text, "another-token") {
		t.Errorf("a token is printed:\n%s", text)
	}
	if want := "Clients need --cacert FILE and -H 'Authorization: Bearer TOKEN'"; !strings.Contains(text, want) {
		t.Errorf("it does not say %q:\n%s", want, text)
	}
	g.isLookedAt(t)
	g.servesThePage(t)
}

// servesThePage checks that the page, which asks guarded services, takes an order
// and shows its way, and that vigie trace finds the order with the same token.
func (g *guardedSystem) servesThePage(t *testing.T) {
	t.Helper()
	page := g.URLs["sentinelle"]
	read := func(method, path, body string) (int, http.Header, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, page+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+edgeToken)
		r.Header.Set("Accept", "text/html")
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		answer, err := g.contracts.Base.RoundTrip(r) // a browser's: pages are not in the document, and redirects are looked at
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, answer.Header, string(text)
	}
	status, header, text := read(http.MethodPost, "/orders", "user=user123&amount=1.50&items=tea")
	order, placed := strings.CutPrefix(header.Get("Location"), "/orders/")
	if status != http.StatusSeeOther || !placed {
		t.Fatalf("placing an order: %d, %s", status, text)
	}
	bank.Eventually(t, func() error {
		status, _, text := read(http.MethodGet, "/orders/"+order, "")
		if status != http.StatusOK || !strings.Contains(text, "Authorised, code ") && !strings.Contains(text, "Rejected: ") {
			return fmt.Errorf("%s is shown with %d: %s", order, status, text)
		}
		return nil
	})
	if status, _, text := read(http.MethodGet, "/orders", ""); status != http.StatusOK || !strings.Contains(text, "/orders/"+order) {
		t.Errorf("the list of orders is %d: %s", status, text)
	}
	asked := []string{"trace", order, "--kafka-brokers", g.Brokers, "--suivi-url", g.Suivi, "--page-url", page, "--timeout", "10m"}
	for want, token := range map[string]string{"PAYMENT_": g.token, "it wants a token, which --token-file names": ""} {
		p := bank.Launch(t, append(slices.Clone(asked), "--http-tls-ca-file", g.authority.File, "--token-file", token)...)
		<-p.Done
		if text := p.Stdout.String(); p.Status != 0 || !strings.Contains(text, want) || (token != "") != strings.Contains(text, " spans of ") {
			t.Errorf("trace with the token of %q: %d, %s%s", token, p.Status, text, p.Stderr)
		}
	}
	asked = []string{"groups", "--page-url", page, "--http-tls-ca-file", g.authority.File, "--timeout", "10m"}
	bank.Eventually(t, func() error { // the cluster may not have been looked at yet
		p := bank.Launch(t, append(slices.Clone(asked), "--token-file", g.token)...)
		<-p.Done
		if text := p.Stdout.String(); p.Status != 0 || !strings.Contains(text, "paiement-svc") {
			return fmt.Errorf("groups: %d, %s%s", p.Status, text, p.Stderr)
		}
		return nil
	})
	p := bank.Launch(t, asked...)
	<-p.Done
	if text := p.Stderr.String(); p.Status != 1 || !strings.Contains(text, "token") {
		t.Errorf("groups without a token: %d, %s%s", p.Status, p.Stdout, text)
	}
}

func (g *guardedSystem) isLookedAt(t *testing.T) {
	t.Helper()
	var addresses []string
	for name, url := range g.URLs {
		addresses = append(addresses, "--"+name+"-addr", strings.TrimPrefix(url, "https://"))
	}
	trusting := append([]string{"--http-tls-ca-file", g.authority.File}, addresses...)
	for name, tt := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"health":                   {append([]string{"health", "--timeout", "10m"}, trusting...), 0, "ready: https://"},
		"health of a URL":          {[]string{"health", "--timeout", "10m", "--http-tls-ca-file", g.authority.File, g.Paiement}, 0, "ready: https://"},
		"health by another name":   {append([]string{"health", "--timeout", "10m", "--http-tls-server-name", "localhost"}, trusting...), 0, "ready: https://"},
		"health by a wrong name":   {append([]string{"health", "--timeout", "10m", "--http-tls-server-name", "bank.example"}, trusting...), 1, "bank.example"},
		"health without trust":     {[]string{"health", "--timeout", "10m", g.Paiement}, 1, "unknown authority"},
		"health over plain HTTP":   {append([]string{"health", "--timeout", "10m"}, addresses...), 1, "400"},
		"health with a wrong file": {[]string{"health", "--timeout", "10m", "--http-tls-ca-file", g.tokens}, 2, "HTTP_TLS_CA_FILE"},
		"doctor":                   {append([]string{"doctor", "--timeout", "10m", "--services-only"}, trusting...), 0, "https://"},
		"doctor on the authority":  {append([]string{"doctor", "--timeout", "10m", "--services-only"}, trusting...), 0, "(HTTP_TLS_CA_FILE): valid until "},
		"doctor without trust":     {append([]string{"doctor", "--timeout", "10m", "--services-only"}, addresses...), 1, "WRONG"},
	} {
		p := bank.Launch(t, tt.args...)
		<-p.Done
		if text := p.Stdout.String() + p.Stderr.String(); p.Status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %s, want %d and %q", name, p.Status, text, tt.status, tt.want)
		}
	}
}

// A thousand clients at once against a hundred slots: each order is taken, or
// refused with when to come again; what was taken is paid, and all goes on. No
// order's time is up, however slow the machine: it might have been taken, and
// nobody could say how many are to be paid.
func TestAThousandClientsOrderAtOnce(t *testing.T) {
	bank.Parallel(t)
	const clients = 1000
	s := bank.Start(t, t.TempDir(), "--http-max-concurrent", "100", "--commande-ack-timeout", "1h", "--log-level", "warn")
	all, err := bank.Documents()
	if err != nil {
		t.Fatal(err)
	}
	var created, refused atomic.Int64
	var connecting, ordering sync.WaitGroup
	connecting.Add(clients)
	few := make(chan struct{}, 20) // connect at a time
	for n := range clients {
		ordering.Go(func() {
			checked := &testcontract.Transport{Base: &http.Transport{}}
			client := &http.Client{Transport: checked} // a connection of its own
			defer client.CloseIdleConnections()
			few <- struct{}{}
			err := errors.Join(checked.Expect(s.Commande, all["commande"]), visit(client, s.Commande+"/health"))
			<-few
			connecting.Done()
			connecting.Wait() // what is sent at once arrives at once: the server's time for headers is not at stake
			if err != nil {
				t.Error(err)
				return
			}
			order, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Commande+"/orders", strings.NewReader(`{"userId":"user123","amount":1}`))
			if err != nil {
				t.Error(err)
				return
			}
			order.Header.Set("Content-Type", "application/json")
			// With a key net/http sends the order again where the server has closed the connection: it
			// may have waited for the others for more than a minute.
			order.Header.Set("Idempotency-Key", fmt.Sprint("client-", n))
			answer, err := client.Do(order)
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			if answer.StatusCode == http.StatusCreated {
				created.Add(1)
				return
			}
			var p httpapi.Problem
			if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || p.Type != httpapi.Busy || answer.Header.Get("Retry-After") == "" {
				t.Errorf("%s %v %+v, %v", answer.Status, answer.Header, p, err)
			}
			refused.Add(1)
		})
	}
	ordering.Wait()
	if created.Load()+refused.Load() != clients || created.Load() < 100 {
		t.Errorf("%d created, %d refused", created.Load(), refused.Load())
	}
	t.Logf("%d created, %d refused", created.Load(), refused.Load())
	s.Settled(t, created.Load())
	s.MustOrder(t, "1")
}

// visit asks for a page and reads it, so that its connection can be used again.
func visit(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

// What is wrong with the settings of the edge is reported in a line that names the
// setting, before anything is listened on.
func TestWrongSettingsOfTheEdgeAreNamed(t *testing.T) {
	bank.Parallel(t)
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty")
	if err := os.WriteFile(empty, []byte("short-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := testcerts.New(t, "authority").Sign(t, "vigie")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a certificate alone":       {[]string{"suivi", "--http-tls-cert-file", pair.CertFile}, "HTTP_TLS_KEY_FILE"},
		"a key alone":               {[]string{"suivi", "--http-tls-key-file", pair.KeyFile}, "HTTP_TLS_CERT_FILE"},
		"no certificate":            {[]string{"suivi", "--http-tls-cert-file", pair.KeyFile, "--http-tls-key-file", pair.KeyFile}, "HTTP_TLS_CERT_FILE"},
		"tokens too short":          {[]string{"commande", "--commande-tokens-file", empty}, "COMMANDE_TOKENS_FILE"},
		"no file of tokens":         {[]string{"analyseur", "--analyseur-tokens-file", "/missing"}, "ANALYSEUR_TOKENS_FILE"},
		"no slots":                  {[]string{"suivi", "--http-max-concurrent", "0"}, "HTTP_MAX_CONCURRENT"},
		"no connections":            {[]string{"paiement", "--http-max-connections", "-1"}, "HTTP_MAX_CONNECTIONS"},
		"paiement asks for nothing": {[]string{"paiement", "--paiement-tokens-file", empty}, "paiement-tokens-file"},
	} {
		p := bank.Launch(t, append(tt.args, "--data", folder, "--"+tt.args[0]+"-addr", "127.0.0.1:0")...)
		<-p.Done
		text := p.Stderr.String()
		if p.Status != 2 || strings.Count(text, "\n") != 1 || !strings.Contains(text, tt.want) || strings.Contains(text, "short-secret") {
			t.Errorf("%s: %d, %q does not name %q", name, p.Status, text, tt.want)
		}
	}
}

// A request's id stands in its answer and in its log line.
func TestRequestIDsAreLogged(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Commande+"/orders", strings.NewReader(`{"userId":"user123","amount":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Request-Id", "checkout-4711")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("X-Request-Id"); got != "checkout-4711" {
		t.Errorf("the answer is to %q", got)
	}
	s.Program.Stderr.Wait(t, `"msg":"order created".*"request_id":"checkout-4711"`, s.Program.Done)
}
