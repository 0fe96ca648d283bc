//go:build !race || whole

package system_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vigie-dev/vigie/internal/demo"
	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testcerts "github.com/vigie-dev/vigie/internal/testenv/certs"
	"github.com/vigie-dev/vigie/services"
)

// What a demonstration sends is what the services understand: orders are taken,
// looks are answered, and each wrong request is refused for its own reason.
func TestADemonstrationsRequestsGetTheirAnswers(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	script, refused, kinds := demo.NewScript(1), map[string]int{}, map[demo.Kind]int{}
	for step := script.Next(); len(refused) < 9 || kinds[demo.Repeat] < 2; step = script.Next() {
		kinds[step.Kind]++
		if step.Kind == demo.Replay || step.Kind == demo.Order && kinds[demo.Order] > 20 || step.Request.Path == "" {
			continue
		}
		url := s.Commande
		if step.Kind == demo.Look {
			url = map[bool]string{true: s.Suivi, false: s.Analyseur}[strings.HasPrefix(step.Request.Path, "/orders")]
		}
		request, err := http.NewRequestWithContext(t.Context(), step.Request.Method, url+step.Request.Path, strings.NewReader(string(step.Request.Body)))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range step.Request.Header {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		status := response.StatusCode
		switch step.Kind {
		case demo.Order, demo.Repeat:
			if status != http.StatusCreated {
				t.Fatalf("%s is answered with %d", step.Request.Body, status)
			}
		case demo.Look:
			if status != http.StatusOK {
				t.Fatalf("%s is answered with %d", step.Request.Path, status)
			}
		case demo.Wrong:
			if status < 400 || status >= 500 || status == http.StatusUnauthorized || status == http.StatusTooManyRequests {
				t.Fatalf("%+v is answered with %d", step.Request, status)
			}
			refused[fmt.Sprintf("%+v", step.Request)] = status
		}
	}
}

// vigie up --demo has traffic, and says that it is a demonstration's: where it
// starts, in the log and in a metric. It knows the tokens and the certificate that
// its own services have.
func TestUpWithADemonstration(t *testing.T) {
	bank.Parallel(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("# of the demonstration\n0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := testcerts.New(t, "authority").Sign(t, "vigie")
	for name, args := range map[string][]string{
		"open": nil,
		"secured": {
			"--commande-tokens-file", tokens, "--suivi-tokens-file", tokens, "--analyseur-tokens-file", tokens,
			"--http-tls-cert-file", pair.CertFile, "--http-tls-key-file", pair.KeyFile,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := bank.StartWith(t, services.All(), t.TempDir(), append(args, "--demo", "--demo-seed", "2")...)
			s.Program.Stderr.Wait(t, `orders that are invented`, s.Program.Done)
			s.Program.Stderr.Wait(t, `"order created"`, s.Program.Done)
			s.Program.Stderr.Wait(t, `"payment decided"`, s.Program.Done)
			if text := s.Program.Stdout.String(); !strings.Contains(text, "This is a demonstration") {
				t.Errorf("the start says:\n%s", text)
			}
			if name == "open" {
				if _, all := bank.Scrape(t, s.URLs["sentinelle"]); all[`demo_active{service="sentinelle"}`] != 1 {
					t.Error("demo_active is not 1")
				}
			}
			if status := s.Program.Stop(); status != 0 || strings.Contains(s.Program.Stderr.String(), "pauses") {
				t.Errorf("it ended with %d after\n%s", status, s.Program.Stderr)
			}
		})
	}
}

// vigie demo does the same to services that run elsewhere, until it is stopped.
func TestADemonstrationOfItsOwn(t *testing.T) {
	bank.Parallel(t)
	s := bank.Start(t, t.TempDir())
	args := []string{"demo", "--kafka-brokers", s.Brokers, "--log-format", "json"}
	for _, name := range []string{"commande", "suivi", "analyseur"} {
		args = append(args, "--"+name+"-addr", strings.TrimPrefix(s.URLs[name], "http://"))
	}
	p := bank.Launch(t, args...)
	s.Program.Stderr.Wait(t, `"order created"`, p.Done)
	if status := p.Stop(); status != 0 || strings.Contains(p.Stderr.String(), "pauses") || !strings.Contains(p.Stderr.String(), "invented") {
		t.Errorf("it ended with %d after\n%s%s", status, p.Stdout, p.Stderr)
	}
	if _, all := bank.Scrape(t, s.URLs["sentinelle"]); all[`demo_active{service="sentinelle"}`] != 0 {
		t.Error("demo_active is not 0 where nothing says that this is a demonstration")
	}
}
