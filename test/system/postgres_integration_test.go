//go:build integration

package system_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	testkafka "github.com/vigie-dev/vigie/internal/testenv/kafka"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	testsystem "github.com/vigie-dev/vigie/internal/testenv/system"
)

// postgresAway is how long the database is away.
const postgresAway = 30 * time.Second

// several is the system with two instances of each service, on real Kafka and
// real PostgreSQL. The system's addresses stand for either instance.
type several struct {
	*bank.Bank
	processes *testsystem.System
	server    *testpostgres.Server
	database  string
}

func startSeveral(t *testing.T, args ...string) *several {
	t.Helper()
	binary, broker, server := bank.Binary(t), testkafka.Start(t), testpostgres.Start(t)
	s := &several{server: server, database: server.Database(t)}
	s.Bank, s.processes = startTwo(t, testsystem.Config{
		Binary: binary, Brokers: broker.Address(), Data: t.TempDir(), Database: s.database,
	}, args)
	return s
}

// startTwo starts two instances of each service and waits for both: who has
// joined last may not be the one that answered.
func startTwo(t testing.TB, cfg testsystem.Config, args []string) (*bank.Bank, *testsystem.System) {
	t.Helper()
	cfg.Instances = 2
	s, processes := bank.StartProcesses(t, cfg, nil, args)
	allReady(t, processes)
	return s, processes
}

// allReady waits until every instance is.
func allReady(t testing.TB, processes *testsystem.System) {
	t.Helper()
	for _, name := range testsystem.Services() {
		for _, p := range processes.Instances(name) {
			bank.Eventually(t, func() error {
				if status, body := bank.Get(t, p.URL+"/health/ready"); status != http.StatusOK {
					return fmt.Errorf("readiness of %s = %d: %s", p.Name, status, body)
				}
				return nil
			})
		}
	}
}

// What holds for one instance of each service holds for two.
func TestTwoInstancesOfEachServiceAreOneSystem(t *testing.T) {
	binary, server := bank.Binary(t), testpostgres.Start(t)
	for name, test := range map[string]func(*testing.T, bank.Deployment){
		"an order":            orderIsPaidTrackedCountedAndMeasured,
		"restarts under load": nothingIsForgottenOrDoubledAcrossRestarts,
	} {
		t.Run(name, func(t *testing.T) {
			database, broker := server.Database(t), testkafka.Start(t)
			test(t, func(t testing.TB, data string, args ...string) *bank.Bank {
				t.Helper()
				s, _ := startTwo(t, testsystem.Config{Binary: binary, Brokers: broker.Address(), Data: data, Database: database}, args)
				return s
			})
		})
	}
}

// Instances come and go under load, stopped and killed. Afterwards every order
// is compared with what its client received, and the audit is clean.
func TestInstancesComeAndGoUnderLoad(t *testing.T) {
	s := startSeveral(t, "--log-level", "warn", "--kafka-session-timeout", "6s")
	stop, results := make(chan struct{}), make(chan []placed)
	go func() { results <- stubbornLoad(s.Bank, 6, stop) }()
	for round, end := range []func(*testsystem.Service) error{
		func(p *testsystem.Service) error {
			ctx, cancel := context.WithTimeout(t.Context(), bank.StopPatience)
			defer cancel()
			return p.Process().Stop(ctx)
		},
		func(p *testsystem.Service) error { p.Kill(); return nil },
	} {
		for i, name := range testsystem.Services() {
			p := s.processes.Instances(name)[(round+i)%2]
			if err := end(p); err != nil {
				t.Fatal(err)
			}
			s.moreOrders(t)
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.moreOrders(t)
		}
	}
	close(stop)
	s.settledAs(t, <-results)
}

// moreOrders waits for some payments to be counted.
func (s *several) moreOrders(t *testing.T) {
	t.Helper()
	const n = 20
	var before, now bank.Statistics
	bank.GetJSON(t, s.Analyseur+"/statistics", &before)
	bank.Eventually(t, func() error {
		if bank.GetJSON(t, s.Analyseur+"/statistics", &now); now.TotalTransactions < before.TotalTransactions+n {
			return fmt.Errorf("%d payments counted after %d", now.TotalTransactions, before.TotalTransactions)
		}
		return nil
	})
}

// settledAs waits until the audit finds everything accounted for and nothing
// under way, and checks it against what the clients received.
func (s *several) settledAs(t *testing.T, all []placed) {
	t.Helper()
	accepted, seen := int64(0), map[string]bool{}
	for _, o := range all {
		if o.status != http.StatusCreated {
			continue
		}
		if seen[o.id] {
			t.Errorf("%s was given twice", o.id)
		}
		seen[o.id] = true
		accepted++
	}
	bank.Eventually(t, func() error {
		report, _ := auditJSON(t, s.Brokers, "--database-url", s.database)
		if !report.AccountedFor {
			t.Fatalf("audit: %+v", report)
		}
		if report.InFlight.Count > 0 || report.Created.Count < accepted {
			return fmt.Errorf("%+v", report)
		}
		for _, service := range report.Services {
			if service.Unread > 0 || service.Outbox > 0 {
				return fmt.Errorf("%+v", service)
			}
		}
		return nil
	})
	for i, suivi := range s.processes.Instances(testsystem.Suivi) { // either knows every order
		for id := range seen {
			if o := (&bank.Bank{Suivi: suivi.URL}).Decided(t, id); len(o.Events) != 2 {
				t.Errorf("suivi %d: %s has the events %v", i, id, o.Events)
			}
		}
	}
	var first, second bank.Statistics
	bank.GetJSON(t, s.processes.Instances(testsystem.Analyseur)[0].URL+"/statistics", &first)
	bank.GetJSON(t, s.processes.Instances(testsystem.Analyseur)[1].URL+"/statistics", &second)
	if first.TotalTransactions != second.TotalTransactions || first.TotalAmount != second.TotalAmount || first.TotalTransactions < accepted {
		t.Errorf("%d orders are accepted; statistics are %+v and %+v", accepted, first, second)
	}
}

// stubbornLoad is [load] by clients that go on when they got no answer.
func stubbornLoad(s *bank.Bank, clients int, stop <-chan struct{}) []placed {
	var mu sync.Mutex
	var all []placed
	var group sync.WaitGroup
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for c := range clients {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-pause.C:
				}
				status, p, err := s.Order(fmt.Sprintf("user-%d", c), "1.25")
				if err != nil {
					status = 0
				}
				mu.Lock()
				all = append(all, placed{p.OrderID, 125, status})
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return all
}

// PostgreSQL is away for half a minute: readiness says so, nobody ends, and
// everything goes on by itself. Orders are taken all the while, as long as
// commande has ids left of its block.
func TestPostgresGoesAwayAndComesBack(t *testing.T) {
	s := startSeveral(t, "--log-level", "error")
	for range 4 {
		s.MustOrder(t, "1.25")
	}
	s.Settled(t, 4)
	stop, results := make(chan struct{}), make(chan []placed)
	go func() { results <- stubbornLoad(s.Bank, 2, stop) }()
	s.moreOrders(t)
	s.server.Kill()
	gone := time.Now()
	for _, name := range testsystem.Services() {
		for _, p := range s.processes.Instances(name) {
			bank.Eventually(t, func() error {
				status, body := bank.Get(t, p.URL+"/health/ready")
				if strings.Contains(body, testpostgres.Password) || strings.Contains(body, "user=") {
					t.Fatalf("readiness of %s reveals too much: %s", p.Name, body)
				}
				if status != http.StatusServiceUnavailable || !strings.Contains(body, "storage: ") {
					return fmt.Errorf("readiness of %s without PostgreSQL = %d: %s", p.Name, status, body)
				}
				return nil
			})
			if status, _ := bank.Get(t, p.URL+"/health"); status != http.StatusOK {
				t.Errorf("%s is not alive without PostgreSQL: %d", p.Name, status)
			}
		}
	}
	if status, body := bank.Get(t, s.Suivi+"/orders/order-1/status"); status != http.StatusServiceUnavailable {
		t.Errorf("suivi answers %d without PostgreSQL: %s", status, body)
	}
	s.MustOrder(t, "1.25") // its id is left of the block
	timer := time.NewTimer(postgresAway - time.Since(gone))
	<-timer.C
	if err := s.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	allReady(t, s.processes)
	s.moreOrders(t)
	close(stop)
	s.settledAs(t, <-results)
}

// A reset clears the schemas, when no instance runs, and everything is rebuilt.
func TestResetOnPostgres(t *testing.T) {
	s := startSeveral(t, "--log-level", "error")
	const n = 30
	for i := range n {
		s.MustOrder(t, fmt.Sprint(i+1))
	}
	before := s.Settled(t, n)
	reset := func() *bank.Command {
		t.Helper()
		p := bank.Launch(t, "reset", "--yes", "--database-url", s.database, "--kafka-brokers", s.Brokers)
		<-p.Done
		if output := p.Stdout.String() + p.Stderr.String(); strings.Contains(output, testpostgres.Password) {
			t.Errorf("the password is printed: %s", output)
		}
		return p
	}
	if p := reset(); p.Status != 1 || !strings.Contains(p.Stderr.String(), "in use") {
		t.Errorf("reset beside running services = %d: %s", p.Status, p.Stderr)
	}
	if status, err := s.processes.Stop(t.Context()); status != 0 || err != nil {
		t.Fatalf("stop = %d, %v", status, err)
	}
	bank.Eventually(t, func() error { // the server notices that they have gone
		if p := reset(); p.Status != 0 {
			return fmt.Errorf("reset = %d: %s", p.Status, p.Stderr)
		}
		return nil
	})
	if err := s.processes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := s.Settled(t, n)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the reset %+v, before %+v", after, before)
	}
}

// The connections are bounded and measured.
func TestPostgresConnectionsAreMeasured(t *testing.T) {
	s := startSeveral(t, "--database-max-connections", "3", "--log-level", "error")
	s.Decided(t, s.MustOrder(t, "1.25").OrderID)
	for name, url := range s.URLs {
		_, all := bank.Scrape(t, url)
		labels := func(more string) string { return "{service=\"" + name + "\"" + more + "}" }
		if all["db_client_connections_max"+labels("")] != 3 {
			t.Errorf("%s: the bound is %v, want 3", name, all["db_client_connections_max"+labels("")])
		}
		used, idle := all["db_client_connections"+labels(`,state="used"`)], all["db_client_connections"+labels(`,state="idle"`)]
		if used+idle < 1 || used+idle > 3 {
			t.Errorf("%s has %v connections used and %v idle, of 3", name, used, idle)
		}
		if _, ok := all["db_client_connection_waits_total"+labels("")]; !ok {
			t.Errorf("%s does not count waits", name)
		}
	}
}

// Where there is a password, nothing prints it.
func TestTheDatabasePasswordIsNotShown(t *testing.T) {
	server := testpostgres.Start(t)
	url := server.Database(t)
	encoded := url[strings.Index(url, "vigie:")+len("vigie:") : strings.Index(url, "@127")]
	wrong := strings.Replace(url, encoded, encoded+"x", 1)
	t.Setenv("DATABASE_URL", wrong)
	broker := bank.Launch(t, "broker", "--data", t.TempDir(), "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	for _, args := range [][]string{
		{"paiement", "--help"},
		{"up", "--help"},
		{"paiement", "--kafka-brokers", address, "--paiement-addr", "127.0.0.1:0", "--log-level", "debug"},
		{"audit", "--kafka-brokers", address},
		{"reset", "--yes", "--kafka-brokers", address},
		{"reset", "--kafka-brokers", address},
		{"paiement", "--kafka-brokers", address, "--paiement-addr", "127.0.0.1:0", "--database-url", "postgres://vigie:" + encoded + "@[::1/db"},
	} {
		p := bank.Launch(t, args...)
		<-p.Done
		output := p.Stdout.String() + p.Stderr.String()
		for _, secret := range []string{testpostgres.Password, encoded} {
			if strings.Contains(output, secret) {
				t.Errorf("vigie %v prints the password: %s", args, output)
			}
		}
	}
	t.Setenv("DATABASE_URL", url)
	p := bank.Launch(t, "paiement", "--kafka-brokers", address, "--paiement-addr", "127.0.0.1:0", "--log-level", "debug")
	found := p.Stdout.Wait(t, `answers at (\S+)`, p.Done)
	if found == nil {
		t.Fatalf("paiement ended with %d: %s", p.Status, p.Stderr)
	}
	server.Kill()
	bank.Eventually(t, func() error {
		if status, body := bank.Get(t, found[1]+"/health/ready"); status != http.StatusServiceUnavailable {
			return fmt.Errorf("readiness %d: %s", status, body)
		}
		return nil
	})
	p.Stop()
	if output := p.Stdout.String() + p.Stderr.String(); strings.Contains(output, testpostgres.Password) || strings.Contains(output, encoded) {
		t.Errorf("the password is in the log: %s", output)
	}
}
