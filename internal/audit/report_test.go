package audit

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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
	report.CannotTell = sumOf(1, 1)
	report.Unreadable = Unreadable{3, 1, 2, 4}
	from := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	report.Cut = []Cut{{"orders.created", 0, 5, &from}, {"orders.created", 1, 7, nil}}
	text := report.Limit(2).Text()
	for _, want := range []string{
		"cannot tell              1        0.01",
		"paiement: records to read: 0, messages to publish: 1\n",
		"analyseur: not looked at: it is not there\n",
		"tells from 1999-05-01T13:00:00Z on: before that, retention has cut the log\n",
		"\ncannot tell:\n  analyseur was not looked at: it is not there\n",
		"cut: orders.created/0 is complete from offset 5 on, of 2026-05-01T12:00:00Z\n",
		"cut: orders.created/1 is complete from offset 7 on\n",
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
	want := []string{
		"", "order-", "order-9", "order-10", "order-0100", "order-99999999999999999999", "order-\x00", "x", "x\x00", "x\x00\x01", "x\x00\xff",
		"x" + strings.Repeat("9", 300), "x1" + strings.Repeat("0", 300),
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int { return bytes.Compare(orderKey(a), orderKey(b)) })
	if diff := cmp.Diff([]string{
		"", "order-", "order-9", "order-10", "order-0100", "order-99999999999999999999", "order-\x00", "x",
		"x" + strings.Repeat("9", 300), "x1" + strings.Repeat("0", 300), "x\x00", "x\x00\x01", "x\x00\xff",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An id is found again by its key, whatever somebody has stored, and no two
// have the same.
func TestOrderKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringOf(rapid.SampledFrom([]rune{0, 1, 'a', '0', '1', '9', 0xff})).Draw(t, "id")
		if got := orderOf(orderKey(id)); got != id {
			t.Fatalf("%q became %q", id, got)
		}
	})
}
