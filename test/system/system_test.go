package system_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/bank"
	"github.com/vigie-dev/vigie/services"
)

// The documented curls, as a newcomer sends them.
func TestAnOrderIsPaidTrackedCountedAndMeasured(t *testing.T) {
	bank.OnEach(t, orderIsPaidTrackedCountedAndMeasured)
}

func orderIsPaidTrackedCountedAndMeasured(t *testing.T, start bank.Deployment) {
	s := start(t, t.TempDir())
	before := time.Now()
	p := s.MustOrder(t, "100.50")
	if p.OrderID != "order-1" || p.EventID == "" || p.Status != "created" || p.Message == "" {
		t.Errorf("first order = %+v", p)
	}
	o := s.Decided(t, "order-1")
	if o.OrderID != "order-1" || o.Details.UserID != "user123" || o.Details.Amount != "100.50" ||
		fmt.Sprint(o.Details.Items) != "[item1 item2]" || o.LastUpdated.Before(before) {
		t.Errorf("status = %+v", o)
	}
	if o.Status == "PAYMENT_AUTHORIZED" == (o.Details.AuthorizationCode == "") ||
		o.Status == "PAYMENT_REJECTED" == (o.Details.RejectionReason == "") {
		t.Errorf("%s with details %+v", o.Status, o.Details)
	}
	if o.Events[0].Type != "OrderCreated" || !strings.HasPrefix(o.Events[1].Type, "Payment") {
		t.Errorf("events = %+v", o.Events)
	}
	st := s.Settled(t, 1)
	if st.TotalAmount != "100.50" || st.AverageAmount != "100.50" || st.LastHourAmount != "100.50" || st.LastHourCount != 1 ||
		st.AuthorizedTransactions+st.RejectedTransactions != 1 || st.StartTime.After(st.Timestamp) {
		t.Errorf("statistics = %+v", st)
	}
	var list struct {
		Orders     []struct{ OrderID, Status string }
		TotalCount int
	}
	bank.GetJSON(t, s.Suivi+"/orders?limit=10", &list)
	if list.TotalCount != 1 || len(list.Orders) != 1 || list.Orders[0].OrderID != "order-1" || list.Orders[0].Status != o.Status {
		t.Errorf("orders = %+v", list)
	}
	var recent struct {
		Transactions []struct{ OrderID string }
		Count        int
	}
	bank.GetJSON(t, s.Analyseur+"/recent-transactions", &recent)
	if recent.Count != 1 || len(recent.Transactions) != 1 || recent.Transactions[0].OrderID != "order-1" {
		t.Errorf("recent transactions = %+v", recent)
	}
	for name, url := range s.URLs {
		var root struct {
			Service, Version string
			Endpoints        []string
		}
		bank.GetJSON(t, url+"/", &root)
		if root.Service != name || root.Version == "" || len(root.Endpoints) < 4 {
			t.Errorf("GET / of %s = %+v", name, root)
		}
		for _, path := range []string{"/health", "/health/ready"} {
			bank.Eventually(t, func() error {
				if status, body := bank.Get(t, url+path); status != http.StatusOK {
					return fmt.Errorf("GET %s of %s = %d: %s", path, name, status, body)
				}
				return nil
			})
		}
	}
	if status := s.Program.Stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.Program.Stderr)
	}
}

// placed is what a client knows about one order.
type placed struct {
	id     string
	amount int64 // cents
	status int   // 0: no answer
}

// load places orders from several clients until stop is closed, and returns
// what each received.
func load(s *bank.Bank, clients int, seed int64, stop <-chan struct{}) []placed {
	var mu sync.Mutex
	var all []placed
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for i := int64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				amount := 1 + (seed*1_000_003+int64(c)*7919+i*31)%50_000
				status, p, err := s.Order(fmt.Sprintf("user-%d", c), fmt.Sprintf("%d.%02d", amount/100, amount%100))
				mu.Lock()
				all = append(all, placed{p.OrderID, amount, status})
				mu.Unlock()
				if err != nil {
					return // the system has stopped listening
				}
			}
		})
	}
	group.Wait()
	return all
}

// A loaded system is stopped and started twice; then every order is compared
// with what its client received.
func TestNothingIsForgottenOrDoubledAcrossRestarts(t *testing.T) {
	bank.OnEach(t, nothingIsForgottenOrDoubledAcrossRestarts)
}

func nothingIsForgottenOrDoubledAcrossRestarts(t *testing.T, start bank.Deployment) {
	data := t.TempDir()
	var all []placed
	for round := range 3 {
		s := start(t, data, "--log-level", "warn")
		stop := make(chan struct{})
		results := make(chan []placed)
		go func() { results <- load(s, 8, int64(round), stop) }()
		bank.Eventually(t, func() error { // enough is under way
			var st bank.Statistics
			bank.GetJSON(t, s.Analyseur+"/statistics", &st)
			if st.TotalTransactions < int64(40*(round+1)) {
				return fmt.Errorf("%d payments counted", st.TotalTransactions)
			}
			return nil
		})
		if round < 2 {
			if status := s.Program.Stop(); status != 0 { // under load
				t.Errorf("exit status %d:\n%s", status, s.Program.Stderr)
			}
		}
		close(stop)
		all = append(all, <-results...)
		if round == 2 {
			compare(t, s, all)
		}
	}
}

// compare checks the system's state against what clients received.
func compare(t *testing.T, s *bank.Bank, all []placed) {
	t.Helper()
	var accepted, sum int64
	seen := map[string]bool{}
	for _, o := range all {
		switch {
		case o.status == http.StatusCreated:
			if seen[o.id] {
				t.Errorf("%s was given twice", o.id)
			}
			seen[o.id] = true
			accepted++
			sum += o.amount
		case o.status != 0:
			t.Errorf("an order was answered with %d", o.status)
		}
	}
	// An order whose client got no answer may or may not have been taken; the
	// clients stopped after one such order each.
	var st bank.Statistics
	bank.Eventually(t, func() error {
		bank.GetJSON(t, s.Analyseur+"/statistics", &st)
		if st.TotalTransactions < accepted || st.CatchingUp {
			return fmt.Errorf("%d of %d accepted orders counted", st.TotalTransactions, accepted)
		}
		return nil
	})
	if st.TotalTransactions > accepted+16 {
		t.Errorf("%d payments counted, %d orders accepted", st.TotalTransactions, accepted)
	}
	if st.TotalTransactions == accepted && string(st.TotalAmount) != fmt.Sprintf("%d.%02d", sum/100, sum%100) {
		t.Errorf("total amount %s, want %d cents", st.TotalAmount, sum)
	}
	for _, o := range all {
		if o.status != http.StatusCreated {
			continue
		}
		if got := s.Decided(t, o.id); string(got.Details.Amount) != fmt.Sprintf("%d.%02d", o.amount/100, o.amount%100) || len(got.Events) != 2 {
			t.Errorf("%s: %+v, want amount %d cents and two events", o.id, got, o.amount)
		}
	}
	next := s.MustOrder(t, "1")
	if seen[next.OrderID] {
		t.Errorf("the next order got %s again", next.OrderID)
	}
}

// After a clean stop with nothing under way, ids go on without a gap and
// statistics are as before.
func TestIdsGoOnAfterACleanStop(t *testing.T) { bank.OnEach(t, idsGoOnAfterACleanStop) }

func idsGoOnAfterACleanStop(t *testing.T, start bank.Deployment) {
	data := t.TempDir()
	s := start(t, data)
	for range 3 {
		s.MustOrder(t, "10")
	}
	before := s.Settled(t, 3)
	s.Program.Stop()
	s = start(t, data)
	after := s.Settled(t, 3)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the restart %+v, before %+v", after, before)
	}
	if p := s.MustOrder(t, "10"); p.OrderID != "order-4" {
		t.Errorf("next order is %s, want order-4", p.OrderID)
	}
}

// The four services and the broker also run as commands of their own on one
// data folder.
func TestServicesRunBesideEachOther(t *testing.T) {
	bank.Parallel(t)
	data := t.TempDir()
	broker := bank.Launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	address := broker.Stdout.Wait(t, `listens on (\S+)`, broker.Done)[1]
	made := bank.Launch(t, "topics", "--kafka-brokers", address)
	<-made.Done
	if made.Status != 0 || !strings.Contains(made.Stdout.String(), "created orders.created") {
		t.Errorf("vigie topics = %d: %s%s", made.Status, made.Stdout, made.Stderr)
	}
	urls := map[string]string{}
	for _, name := range services.All().Inside().Names() {
		p := bank.LaunchService(t, name, "--data", data, "--kafka-brokers", address, "--log-format", "json")
		found := p.Stdout.Wait(t, `answers at (\S+)`, p.Done)
		if found == nil {
			t.Fatalf("vigie %s ended with %d: %s", name, p.Status, p.Stderr)
		}
		urls[name] = found[1]
	}
	s := bank.At(nil, address, urls)
	p := s.MustOrder(t, "42")
	s.Decided(t, p.OrderID)
	s.Settled(t, 1)
}
