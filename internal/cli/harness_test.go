package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/services"
)

// patience is how long a test waits for what should happen at once: long
// enough for a loaded machine, never part of what is asserted.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	http.DefaultTransport = contracts // what tests ask with
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		goleak.Cleanup(func(status int) {
			_ = os.RemoveAll(buildFolder())
			os.Exit(status)
		}))
}

// output is what a program writes, for tests to wait on.
type output struct{ *testproc.Output }

func newOutput() output { return output{testproc.NewOutput()} }

// wait returns the submatches of the pattern once the output has it, or nil
// when done is closed first.
func (o output) wait(t testing.TB, pattern string, done <-chan struct{}) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, err := o.Await(ctx, regexp.MustCompile(pattern), done)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// program is a running vigie command.
type program struct {
	stdout, stderr output
	cancel         context.CancelFunc
	done           chan struct{}
	status         int
}

// launch runs vigie with arguments, as main does.
func launch(t testing.TB, args ...string) *program {
	t.Helper()
	return launchWith(t, services.All(), args...)
}

// launchWith runs vigie with other services.
func launchWith(t testing.TB, registry services.Registry, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{stdout: newOutput(), stderr: newOutput(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.status = run(ctx, registry, append([]string{"vigie"}, args...), p.stdout, p.stderr)
	}()
	t.Cleanup(func() { p.stop() })
	return p
}

// stop does what the first signal does, and returns the exit status.
func (p *program) stop() int {
	p.cancel()
	<-p.done
	return p.status
}

// system is the whole system, by the addresses of its services.
type system struct {
	program                              *program
	brokers                              string
	commande, suivi, analyseur, paiement string
}

// startSystem starts `vigie up` on free ports.
func startSystem(t testing.TB, data string, args ...string) *system {
	t.Helper()
	p := launch(t, slices.Concat(freePorts(services.All()), []string{"--data", data}, args)...)
	found := p.stdout.wait(t, `(?s)Kafka: \[(.*?)\].*commande +(\S+).*suivi +(\S+).*analyseur +(\S+).*paiement +(\S+).*Ctrl-C`, p.done)
	if found == nil {
		t.Fatalf("vigie up ended with %d:\n%s", p.status, p.stderr)
	}
	s := &system{p, found[1], found[2], found[3], found[4], found[5]}
	s.expectContracts(t)
	return s
}

// freePorts are the arguments of a `vigie up` that leaves ports free and logs
// for tests.
func freePorts(registry services.Registry) []string {
	args := []string{"up", "--broker-addr", "127.0.0.1:0", "--log-format", "json", "--paiement-latency", "1ms"}
	for _, s := range registry {
		args = append(args, "--"+s.Name+"-addr", "127.0.0.1:0")
	}
	return args
}

// services returns each service's address by name.
func (s *system) services() map[string]string {
	return map[string]string{"commande": s.commande, "suivi": s.suivi, "analyseur": s.analyseur, "paiement": s.paiement}
}

// placed is the answer to an accepted order.
type placed struct{ OrderID, EventID, Status, Message string }

// order posts an order and returns the answer's status and, if accepted, what
// it says.
func (s *system) order(user string, amount string) (int, placed, error) {
	body := fmt.Sprintf(`{"userId":%q,"amount":%s,"items":["item1","item2"]}`, user, amount)
	response, err := http.Post(s.commande+"/orders", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, placed{}, err
	}
	defer response.Body.Close()
	var p placed
	if response.StatusCode == http.StatusCreated {
		err = json.NewDecoder(response.Body).Decode(&p)
	}
	return response.StatusCode, p, err
}

// mustOrder posts an order that has to be accepted.
func (s *system) mustOrder(t testing.TB, amount string) placed {
	t.Helper()
	status, p, err := s.order("user123", amount)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("POST /orders = %d, %v", status, err)
	}
	return p
}

// get reads a page.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// getJSON reads a JSON document into a value.
func getJSON(t testing.TB, url string, into any) {
	t.Helper()
	status, body := get(t, url)
	if status != http.StatusOK {
		t.Fatalf("GET %s = %d: %s", url, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("GET %s: %v in %s", url, err, body)
	}
}

// eventually asks until the answer is nil.
func eventually(t testing.TB, ask func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// statistics is what analyseur says.
type statistics struct {
	TotalTransactions, AuthorizedTransactions, RejectedTransactions, LastHourCount int64
	TotalAmount, AverageAmount, LastHourAmount, AuthorizationRate                  json.Number
	Uptime                                                                         int64
	Timestamp, StartTime                                                           time.Time
	CatchingUp                                                                     bool
}

// settled waits until n payments are counted and returns the statistics.
func (s *system) settled(t testing.TB, n int64) statistics {
	t.Helper()
	var st statistics
	eventually(t, func() error {
		getJSON(t, s.analyseur+"/statistics", &st)
		if st.TotalTransactions != n {
			return fmt.Errorf("%d payments counted, want %d", st.TotalTransactions, n)
		}
		return nil
	})
	return st
}

// orderStatus is what suivi says about an order.
type orderStatus struct {
	OrderID, Status string
	Details         struct {
		UserID                             string
		Amount                             json.Number
		Items                              []string
		AuthorizationCode, RejectionReason string
	}
	Events []struct {
		Type      string
		Timestamp time.Time
	}
	LastUpdated time.Time
}

// decided waits until suivi shows the order's payment as decided.
func (s *system) decided(t testing.TB, id string) orderStatus {
	t.Helper()
	var o orderStatus
	eventually(t, func() error {
		status, body := get(t, s.suivi+"/orders/"+id+"/status")
		if status != http.StatusOK {
			return fmt.Errorf("status of %s = %d", id, status)
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return err
		}
		if o.Status != "PAYMENT_AUTHORIZED" && o.Status != "PAYMENT_REJECTED" {
			return fmt.Errorf("%s is %s", id, o.Status)
		}
		if len(o.Events) < 2 { // the payment may be read before its order
			return fmt.Errorf("%s has %d events", id, len(o.Events))
		}
		return nil
	})
	return o
}
