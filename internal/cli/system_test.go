package cli

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The documented curls, as a newcomer sends them.
func TestAnOrderIsPaidTrackedCountedAndMeasured(t *testing.T) {
	onEach(t, orderIsPaidTrackedCountedAndMeasured)
}

func orderIsPaidTrackedCountedAndMeasured(t *testing.T, start deployment) {
	s := start(t, t.TempDir())
	before := time.Now()
	p := s.mustOrder(t, "100.50")
	if p.OrderID != "order-1" || p.EventID == "" || p.Status != "created" || p.Message == "" {
		t.Errorf("first order = %+v", p)
	}
	o := s.decided(t, "order-1")
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
	st := s.settled(t, 1)
	if st.TotalAmount != "100.50" || st.AverageAmount != "100.50" || st.LastHourAmount != "100.50" || st.LastHourCount != 1 ||
		st.AuthorizedTransactions+st.RejectedTransactions != 1 || st.StartTime.After(st.Timestamp) {
		t.Errorf("statistics = %+v", st)
	}
	var list struct {
		Orders     []struct{ OrderID, Status string }
		TotalCount int
	}
	getJSON(t, s.suivi+"/orders?limit=10", &list)
	if list.TotalCount != 1 || len(list.Orders) != 1 || list.Orders[0].OrderID != "order-1" || list.Orders[0].Status != o.Status {
		t.Errorf("orders = %+v", list)
	}
	var recent struct {
		Transactions []struct{ OrderID string }
		Count        int
	}
	getJSON(t, s.analyseur+"/recent-transactions", &recent)
	if recent.Count != 1 || len(recent.Transactions) != 1 || recent.Transactions[0].OrderID != "order-1" {
		t.Errorf("recent transactions = %+v", recent)
	}
	for name, url := range s.services() {
		var root struct {
			Service, Version string
			Endpoints        []string
		}
		getJSON(t, url+"/", &root)
		if root.Service != name || root.Version == "" || len(root.Endpoints) < 4 {
			t.Errorf("GET / of %s = %+v", name, root)
		}
		for _, path := range []string{"/health", "/health/ready"} {
			if status, body := get(t, url+path); status != http.StatusOK {
				t.Errorf("GET %s of %s = %d: %s", path, name, status, body)
			}
		}
	}
	if status := s.program.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.program.stderr)
	}
}

// told is what a client was told about one order.
type told struct {
	id     string
	amount int64 // cents
	status int   // 0: no answer
}

// load places orders from several clients until stop is closed, and returns
// what each was told.
func load(s *system, clients int, seed int64, stop <-chan struct{}) []told {
	var mu sync.Mutex
	var all []told
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
				status, p, err := s.order(fmt.Sprintf("user-%d", c), fmt.Sprintf("%d.%02d", amount/100, amount%100))
				mu.Lock()
				all = append(all, told{p.OrderID, amount, status})
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
// with what its client was told.
func TestNothingIsForgottenOrDoubledAcrossRestarts(t *testing.T) {
	onEach(t, nothingIsForgottenOrDoubledAcrossRestarts)
}

func nothingIsForgottenOrDoubledAcrossRestarts(t *testing.T, start deployment) {
	data := t.TempDir()
	var all []told
	for round := range 3 {
		s := start(t, data, "--log-level", "warn")
		stop := make(chan struct{})
		results := make(chan []told)
		go func() { results <- load(s, 8, int64(round), stop) }()
		eventually(t, func() error { // enough is under way
			var st statistics
			getJSON(t, s.analyseur+"/statistics", &st)
			if st.TotalTransactions < int64(100*(round+1)) {
				return fmt.Errorf("%d payments counted", st.TotalTransactions)
			}
			return nil
		})
		if round < 2 {
			if status := s.program.stop(); status != 0 { // under load
				t.Errorf("exit status %d:\n%s", status, s.program.stderr)
			}
		}
		close(stop)
		all = append(all, <-results...)
		if round == 2 {
			compare(t, s, all)
		}
	}
}

// compare holds the system's state against what clients were told.
func compare(t *testing.T, s *system, all []told) {
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
	var st statistics
	eventually(t, func() error {
		getJSON(t, s.analyseur+"/statistics", &st)
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
		if got := s.decided(t, o.id); string(got.Details.Amount) != fmt.Sprintf("%d.%02d", o.amount/100, o.amount%100) || len(got.Events) != 2 {
			t.Errorf("%s: %+v, want amount %d cents and two events", o.id, got, o.amount)
		}
	}
	next := s.mustOrder(t, "1")
	if seen[next.OrderID] {
		t.Errorf("the next order got %s again", next.OrderID)
	}
}

// After a clean stop with nothing under way, ids go on without a gap and
// statistics are as before.
func TestIdsGoOnAfterACleanStop(t *testing.T) { onEach(t, idsGoOnAfterACleanStop) }

func idsGoOnAfterACleanStop(t *testing.T, start deployment) {
	data := t.TempDir()
	s := start(t, data)
	for range 3 {
		s.mustOrder(t, "10")
	}
	before := s.settled(t, 3)
	s.program.stop()
	s = start(t, data)
	after := s.settled(t, 3)
	if after.TotalAmount != before.TotalAmount || after.AuthorizedTransactions != before.AuthorizedTransactions {
		t.Errorf("after the restart %+v, before %+v", after, before)
	}
	if p := s.mustOrder(t, "10"); p.OrderID != "order-4" {
		t.Errorf("next order is %s, want order-4", p.OrderID)
	}
}

// The four services and the broker also run as commands of their own on one
// data folder.
func TestServicesRunBesideEachOther(t *testing.T) {
	data := t.TempDir()
	broker := launch(t, "broker", "--data", data, "--broker-addr", "127.0.0.1:0")
	address := broker.stdout.wait(t, `listens on (\S+)`, broker.done)[1]
	made := launch(t, "topics", "--kafka-brokers", address)
	<-made.done
	if made.status != 0 || !strings.Contains(made.stdout.String(), "created orders.created") {
		t.Errorf("vigie topics = %d: %s%s", made.status, made.stdout, made.stderr)
	}
	s := &system{brokers: address}
	for name, url := range map[string]*string{"commande": &s.commande, "suivi": &s.suivi, "analyseur": &s.analyseur, "paiement": &s.paiement} {
		p := launch(t, name, "--data", data, "--kafka-brokers", address, "--"+name+"-addr", "127.0.0.1:0", "--log-format", "json")
		found := p.stdout.wait(t, `answers at (\S+)`, p.done)
		if found == nil {
			t.Fatalf("vigie %s ended with %d: %s", name, p.status, p.stderr)
		}
		*url = found[1]
	}
	p := s.mustOrder(t, "42")
	s.decided(t, p.OrderID)
	s.settled(t, 1)
}
