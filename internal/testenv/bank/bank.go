// Package bank runs the whole system by the command's own code, in this process
// or as processes, and sends it requests as its clients do. Only tests use it.
//
// bank.go starts it and is its client. deployment.go says in which ways it can
// run; deployment_*.go which of them: deployment_process.go in this process, and
// with the tag integration deployment_integration.go as processes.
package bank

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/cli"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/i18n"
	testcontract "github.com/vigie-dev/vigie/internal/testenv/contract"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	testproc "github.com/vigie-dev/vigie/internal/testenv/proc"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/analyseur"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
	"github.com/vigie-dev/vigie/services/suivi"
)

// Patience is how long a test waits for what should happen at once: long
// enough for a loaded machine, never part of what is asserted.
const Patience = 15 * time.Minute

// Main runs a package's tests: every answer is checked against the service's
// OpenAPI document, and no goroutine may outlive them.
func Main(m *testing.M) {
	http.DefaultTransport = Contracts // what tests send requests with
	if !testproc.Integration {
		// Systems wait most of the time, so that more of them than there are
		// processors can run side by side.
		_ = flag.Set("test.parallel", "6")
	}
	leaks.Main(tests{m})
}

// tests are a package's, after which the program that was built for them goes.
type tests struct{ *testing.M }

// Run implements what [leaks.Main] takes.
func (t tests) Run() int {
	status := t.M.Run()
	_ = os.RemoveAll(buildFolder())
	return status
}

// Output is what a program writes, for tests to wait on.
type Output struct{ *testproc.Output }

func newOutput() Output { return Output{testproc.NewOutput()} }

// Wait returns the submatches of the pattern once the output has it, or nil
// when done is closed first.
func (o Output) Wait(t testing.TB, pattern string, done <-chan struct{}) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	found, err := o.Await(ctx, regexp.MustCompile(pattern), done)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Command is a running vigie command.
type Command struct {
	Stdout, Stderr Output
	Cancel         context.CancelFunc
	Done           chan struct{}
	Status         int
}

// Launch runs vigie with arguments, as main does.
func Launch(t testing.TB, args ...string) *Command {
	t.Helper()
	return LaunchWith(t, services.All(), args...)
}

// LaunchWith runs vigie with other services.
func LaunchWith(t testing.TB, registry services.Registry, args ...string) *Command {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Command{Stdout: newOutput(), Stderr: newOutput(), Cancel: cancel, Done: make(chan struct{})}
	go func() {
		defer close(p.Done)
		p.Status = cli.Run(ctx, registry, append([]string{"vigie"}, args...), strings.NewReader(""), p.Stdout, p.Stderr)
	}()
	t.Cleanup(func() { p.Stop() })
	return p
}

// LaunchService runs one service alone on a free port, as patient with Kafka
// and its own stop as a slow machine needs.
func LaunchService(t testing.TB, name string, args ...string) *Command {
	t.Helper()
	args = append([]string{name, "--" + name + "-addr", "127.0.0.1:0", "--stop-timeout", "10m"}, args...)
	if name == commande.Name {
		args = append(args, "--commande-ack-timeout", "1h")
	}
	return Launch(t, args...)
}

// OneTry is a patience for what does not get better by waiting.
const OneTry = "1ns"

// Stop does what the first signal does, and returns the exit status.
func (p *Command) Stop() int {
	p.Cancel()
	<-p.Done
	return p.Status
}

// Bank is the whole system, by the addresses of its services.
type Bank struct {
	Program *Command
	Brokers string
	// URLs has each service's address by name; those of the four that the tests
	// talk to stand beside it.
	URLs                                 map[string]string
	Commande, Suivi, Analyseur, Paiement string
}

// At is a system that answers at these addresses.
func At(program *Command, brokers string, urls map[string]string) *Bank {
	return &Bank{
		Program: program, Brokers: brokers, URLs: urls,
		Commande: urls[commande.Name], Suivi: urls[suivi.Name], Analyseur: urls[analyseur.Name], Paiement: urls[paiement.Name],
	}
}

// Start starts `vigie up` on free ports.
func Start(t testing.TB, data string, args ...string) *Bank {
	t.Helper()
	s := StartWith(t, services.All(), data, args...)
	s.ExpectContracts(t)
	return s
}

// StartWith starts `vigie up` with these services on free ports.
func StartWith(t testing.TB, registry services.Registry, data string, args ...string) *Bank {
	t.Helper()
	p := LaunchWith(t, registry, slices.Concat(FreePorts(registry), []string{"--data", data}, args)...)
	names := registry.Names()
	found := p.Stdout.Wait(t, `(?s)Kafka: \[(.*?)\].*`+strings.Join(names, ` +(\S+).*`)+` +(\S+).*Ctrl-C`, p.Done)
	if found == nil {
		t.Fatalf("vigie up ended with %d:\n%s", p.Status, p.Stderr)
	}
	urls := map[string]string{}
	for i, name := range names {
		urls[name] = found[2+i]
	}
	return At(p, found[1], urls)
}

// FreePorts are the arguments of a `vigie up` that leaves ports free and logs
// for tests.
func FreePorts(registry services.Registry) []string {
	args := []string{"up", "--broker-addr", "127.0.0.1:0", "--log-format", "json", "--paiement-latency", "1ms",
		"--commande-ack-timeout", "1h", "--stop-timeout", "10m", // a slow machine is no failure
		"--prometheus-addr", "",
		"--sentinelle-probe-interval", "0s", // tests count records
		"--lang", i18n.English, // whatever who runs the tests speaks
	}
	for _, s := range registry {
		args = append(args, "--"+s.Name+"-addr", "127.0.0.1:0")
	}
	return args
}

// Placed is the answer to an accepted order.
type Placed struct{ OrderID, EventID, Status, Message string }

// Order posts an order and returns the answer's status and, if accepted, what
// it says.
func (s *Bank) Order(user string, amount string) (int, Placed, error) {
	body := fmt.Sprintf(`{"userId":%q,"amount":%s,"items":["item1","item2"]}`, user, amount)
	response, err := http.Post(s.Commande+"/orders", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, Placed{}, err
	}
	defer response.Body.Close()
	var p Placed
	if response.StatusCode == http.StatusCreated {
		err = json.NewDecoder(response.Body).Decode(&p)
	}
	return response.StatusCode, p, err
}

// MustOrder posts an order that has to be accepted.
func (s *Bank) MustOrder(t testing.TB, amount string) Placed {
	t.Helper()
	status, p, err := s.Order("user123", amount)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("POST /orders = %d, %v", status, err)
	}
	return p
}

// Get reads a page.
func Get(t testing.TB, url string) (int, string) {
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

// GetJSON reads a JSON document into a value.
func GetJSON(t testing.TB, url string, into any) {
	t.Helper()
	status, body := Get(t, url)
	if status != http.StatusOK {
		t.Fatalf("GET %s = %d: %s", url, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("GET %s: %v in %s", url, err, body)
	}
}

// Eventually calls check until it returns nil.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
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

// Statistics is what analyseur says.
type Statistics struct {
	TotalTransactions, AuthorizedTransactions, RejectedTransactions, LastHourCount int64
	TotalAmount, AverageAmount, LastHourAmount, AuthorizationRate                  json.Number
	Uptime                                                                         int64
	Timestamp, StartTime                                                           time.Time
	CatchingUp                                                                     bool
}

// Settled waits until n payments are counted and returns the statistics.
func (s *Bank) Settled(t testing.TB, n int64) Statistics {
	t.Helper()
	var st Statistics
	Eventually(t, func() error {
		GetJSON(t, s.Analyseur+"/statistics", &st)
		if st.TotalTransactions != n {
			return fmt.Errorf("%d payments counted, want %d", st.TotalTransactions, n)
		}
		return nil
	})
	return st
}

// OrderStatus is what suivi says about an order.
type OrderStatus struct {
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

// Decided waits until suivi shows the order's payment as decided.
func (s *Bank) Decided(t testing.TB, id string) OrderStatus {
	t.Helper()
	var o OrderStatus
	Eventually(t, func() error {
		status, body := Get(t, s.Suivi+"/orders/"+id+"/status")
		if status != http.StatusOK {
			return fmt.Errorf("status of %s = %d", id, status)
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return err
		}
		if !banking.OrderStatus(o.Status).Decided() {
			return fmt.Errorf("%s is %s", id, o.Status)
		}
		if len(o.Events) < 2 { // the payment may be read before its order
			return fmt.Errorf("%s has %d events", id, len(o.Events))
		}
		return nil
	})
	return o
}

// Contracts checks every response that the tests of this package get from a
// service against the service's OpenAPI document.
var Contracts = &testcontract.Transport{Base: http.DefaultTransport}

// Documents are read once: that takes longer than an answer does.
var Documents = sync.OnceValues(func() (map[string]*testcontract.Document, error) {
	all := map[string]*testcontract.Document{}
	for _, s := range services.All() {
		text, err := httpapi.OpenAPI(s.Name, s.OpenAPI)
		if err != nil {
			return nil, err
		}
		all[s.Name], err = testcontract.Load(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return all, nil
})

// ExpectContracts has the system's answers checked until the test is over.
func (s *Bank) ExpectContracts(t testing.TB) {
	t.Helper()
	all, err := Documents()
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range s.URLs {
		if err := Contracts.Expect(url, all[name]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = Contracts.Expect(url, nil) })
	}
}

// Scrape reads a metrics page.
func Scrape(t testing.TB, url string) (page string, all map[string]float64) {
	t.Helper()
	status, page := Get(t, url+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("GET %s/metrics = %d", url, status)
	}
	all = map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(page))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all[line[:i]] = value
	}
	return page, all
}

// LagIsZero looks at every lag of a scraped page.
func LagIsZero(all map[string]float64) error {
	for s, lag := range all {
		if strings.HasPrefix(s, "kafka_consumer_lag") && lag != 0 {
			return fmt.Errorf("%s = %v", s, lag)
		}
	}
	return nil
}

// buildFolder has what this test process builds; TestMain removes it.
func buildFolder() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("vigie-test-%d", os.Getpid()))
}
