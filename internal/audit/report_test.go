package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
)

func TestText(t *testing.T) {
	w := settled()
	w.create(1)
	got := "\n" + w.audit().Text()
	want := `
                    orders       euros
created                 11       55.15
authorized               9       45.09
rejected                 1       10.05
dead-lettered            0        0.00
purged                   0        0.00
in flight                1        0.01
unaccounted for          0        0.00

log: records read: 21
paiement: records to read: 1
suivi: records to read: 1
analyseur: records to read: 0

every order is accounted for once
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// All that there may be to say is said.
func TestTextOfEverything(t *testing.T) {
	w := aged(banking.TopicOrdersCreated)
	w.republish(banking.TopicPaymentsAuthorized, "order-3")
	r := w.first(banking.TopicPaymentsAuthorized, "order-3")
	w.publish(deadLetter(r, banking.GroupSuivi, delivery.ReasonMalformed))
	w.publish(deadLetter(r, banking.GroupSuivi, delivery.ReasonMalformed))
	w.create(1)
	w.decide(partitionOf("", "order-22").ID)
	for _, id := range []string{"order-11", "order-12", "order-13"} {
		delete(w.views, id)
	}
	s := w.state()
	s.Analyseur, s.NotLookedAt = nil, map[string]string{analyseur: "it is not there"}
	report := reconcileWith(w, s)
	report.CannotTell = Sum{1, 1}
	report.Unreadable = Unreadable{3, 1, 2, 4}
	from := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	report.Cut = []Cut{{"orders.created", 0, 5, &from}, {"orders.created", 1, 7, nil}}
	text := report.Limit(2).Text()
	for _, want := range []string{
		"cannot tell              1        0.01",
		"paiement: records to read: 1, messages to publish: 1\n",
		"analyseur: not looked at: it is not there\n",
		"cut: orders.created/0 is complete from offset 5 on, of 2026-05-01T12:00:00Z\n",
		"cut: orders.created/1 is complete from offset 7 on, which is its end\n",
		"older than the log: results 10, dead letters 1\n",
		"republished under the same event id: results 1, dead letters 1\n",
		"unreadable records on orders.created: 3 (1 dead-lettered, 2 in flight)\n",
		"unreadable records on other topics: 4\n",
		"dead letters of suivi-svc, from payments.authorized, malformed: 1 waiting, 0 replayed, 0 purged\n",
		"\ndifferences: 3\n",
		"\n  order-11 missing in suivi: suivi has read that it is PAYMENT_AUTHORIZED and does not show it\n",
		"\n  and 1 more; --limit shows more of them\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "accounted for once") || strings.Contains(text, "order-13") {
		t.Errorf("too much is said:\n%s", text)
	}
}

func TestDifferencesAreInTheOrderOfTheIDs(t *testing.T) {
	var all []Difference
	for _, id := range []string{"order-10", "x", "order-9", "", "order-", "order-0100", "order-99999999999999999999"} {
		all = append(all, Difference{OrderID: id, Kind: Lost})
	}
	all = append(all, Difference{OrderID: "order-9", Kind: ViewMissing}, Difference{OrderID: "order-9", Kind: OutsideLog})
	sortDifferences(all)
	var got []string
	for _, d := range all {
		got = append(got, d.OrderID+" "+string(d.Kind))
	}
	want := []string{
		" lost", "order- lost", "order-9 outside_log", "order-9 lost", "order-9 view_missing", "order-10 lost", "order-0100 lost",
		"order-99999999999999999999 lost", "x lost",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
