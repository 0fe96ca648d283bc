package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/record"
)

// Whatever a client can see of a view is compared with the order's records: of
// one that is decided, of a dead letter, and of one that was just created.
func TestEachPartOfAView(t *testing.T) {
	for name, spoil := range map[string]func(*View){
		"status": func(v *View) {
			v.Status = map[bool]banking.OrderStatus{true: banking.OrderStatusAuthorized, false: banking.OrderStatusRejected}[v.Status == banking.OrderStatusRejected]
		},
		"no status":           func(v *View) { v.Status = "" },
		"amount":              func(v *View) { v.Amount++ },
		"user":                func(v *View) { v.UserID = "mallory" },
		"items":               func(v *View) { v.Items = []string{"another"} },
		"no items":            func(v *View) { v.Items = nil },
		"items divided":       func(v *View) { v.Items = []string{strings.Join(v.Items, "")} },
		"authorization code":  func(v *View) { v.AuthorizationCode = "AUTH-FORGED" },
		"rejection reason":    func(v *View) { v.RejectionReason += "x" },
		"failure reason":      func(v *View) { v.FailureReason += "x" },
		"creation":            func(v *View) { v.CreatedAt = v.CreatedAt.Add(time.Microsecond) },
		"no creation":         func(v *View) { v.CreatedAt = time.Time{} },
		"decision":            func(v *View) { v.ProcessedAt = v.ProcessedAt.Add(time.Hour) },
		"place in the list":   func(v *View) { v.ListedAt = time.Time{} },
		"last update":         func(v *View) { v.UpdatedAt = v.UpdatedAt.Add(-time.Microsecond) },
		"no history":          func(v *View) { v.History = nil },
		"too few events":      func(v *View) { v.History = v.History[1:] },
		"too many events":     func(v *View) { v.History = append(v.History, v.History[0]) },
		"an event's time":     func(v *View) { v.History[0].At = v.History[0].At.Add(time.Second) },
		"an event's id":       func(v *View) { v.History[0].EventID = "forged" },
		"an event's type":     func(v *View) { v.History[0].Type = banking.TypePaymentFailed + "x" },
		"an event of another": func(v *View) { v.History[0] = Moment{"x", banking.TypePaymentRejected, v.History[0].At} },
	} {
		for _, id := range []string{"order-3", "order-10", "order-11", "order-12"} {
			t.Run(name+" of "+id, func(t *testing.T) {
				w, _ := refused()
				w.create(1)
				w.showAll()
				if got := w.audit(); !got.AccountedFor {
					t.Fatalf("before: %v", got.Differences)
				}
				w.spoilView(id, spoil)
				got := w.audit()
				if diff := cmp.Diff([]string{"view_wrong " + id}, named(got)); diff != "" {
					t.Errorf("differences (-want +got):\n%s%v", diff, got.Differences)
				}
				if text := got.Text(); strings.Contains(text, "mallory") || strings.Contains(text, "FORGED") {
					t.Errorf("it tells what is private: %s", text)
				}
			})
		}
	}
}

// A service that was not looked at is said to be, and nothing is said against
// it; undecided orders are nobody's to explain then.
func TestServicesThatWereNotLookedAt(t *testing.T) {
	w, letter := refused()
	w.create(1)
	w.purge(letter)
	s := stored{State: State{NotLookedAt: map[string]string{paiement: "no file"}}}
	got := reconcileWith(w, s)
	checkSums(t, got)
	if diff := cmp.Diff([]string{"undecided order-12"}, named(got)); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	if want := (Service{Name: paiement, Problem: "no file"}); got.Services[0] != want {
		t.Errorf("paiement is %+v, want %+v", got.Services[0], want)
	}
	if got.Purged != (sumOf(1, 1101)) || got.Authorized != (sumOf(9, 4509)) {
		t.Errorf("purged %v, authorized %v", got.Purged, got.Authorized)
	}
}

// What is decided after the state was read is not missed in it.
func TestAStateThatIsOlderThanTheLog(t *testing.T) {
	w := settled()
	w.create(1)
	s := w.state()
	s.Since = map[record.Partition]int64{}
	for _, span := range w.spans(topics()...) {
		s.Since[span.Partition] = span.End
	}
	w.create(2)
	w.settle()
	if got := reconcileWith(w, s); !got.AccountedFor || got.InFlight.Count != 0 || got.Authorized.Count != 11 {
		t.Errorf("%+v", got)
	}
	s.Since = nil // a state that claims to be as new
	if got := reconcileWith(w, s); !cmp.Equal(named(got), []string{"result_without_ledger order-11", "result_without_ledger order-12"}) {
		t.Errorf("%v", named(got))
	}
}

// What has been removed for its age is not missed, by the newest record and
// not by what a clock says.
func TestWhatTheServicesForget(t *testing.T) {
	w := settled()
	s := w.state()
	s.ledger, s.views, s.transactions, s.minutes = nil, nil, nil, nil
	clear(s.Suivi.Counts)
	if got := reconcileAfter(w, w.spans(topics()...), s, 0); len(got.Differences) != 30+3 { // the minutes, and two counts
		t.Errorf("they keep everything: %v", named(got))
	}
	w.now = w.now.Add(time.Hour)
	w.create(1)
	s.Paiement.Positions[partitionOf(banking.TopicOrdersCreated, "order-11")]++ // there is nothing that waits
	if got := reconcileAfter(w, w.spans(topics()...), s, time.Minute); !cmp.Equal(named(got), []string{"lost order-11"}) {
		t.Errorf("forgotten: %v", named(got))
	}
	if got := reconcileAfter(w, w.spans(topics()...), s, 2*time.Hour); len(got.Differences) != 30+4 {
		t.Errorf("not old enough to be forgotten: %v", named(got))
	}
}

// Undecided orders are not forgotten.
func TestAnUndecidedOrderStaysInSuivi(t *testing.T) {
	w, _ := refused()
	delete(w.views, "order-11")
	delete(w.views, "order-3")
	w.counts[banking.OrderStatusAuthorized]--
	w.now = w.now.Add(time.Hour)
	w.create(1)
	if got := named(reconcileAfter(w, w.spans(topics()...), w.state(), time.Minute)); !cmp.Equal(got, []string{"view_missing order-11"}) {
		t.Errorf("%v", got)
	}
}

// What the outbox holds and the log has too does not wait to be published.
func TestTheOutboxCountsWhatWaits(t *testing.T) {
	w := settled()
	w.fails = func(o banking.OrderCreated) bool { return o.Amount == 2 }
	for i := range 2 {
		_, at := w.create(banking.Money(i + 1))
		w.decide(at.ID)
	}
	if got := w.audit().Services[0].Outbox; got != 2 {
		t.Errorf("%d messages wait, want 2", got)
	}
	w.flush()
	if got := w.audit().Services[0].Outbox; got != 0 {
		t.Errorf("%d messages wait after they were published", got)
	}
}
