package audit

import (
	"cmp"
	"slices"
	"strings"
)

// Kind says what is wrong. Its text is part of the JSON output.
type Kind string

// The kinds of differences.
const (
	Lost                   Kind = "lost"
	Undecided              Kind = "undecided"
	CreatedTwice           Kind = "created_twice"
	DecidedTwice           Kind = "decided_twice"
	AmountDiffers          Kind = "amount_differs"
	ResultWithoutOrder     Kind = "result_without_order"
	ResultWithoutLedger    Kind = "result_without_ledger"
	LedgerWithoutResult    Kind = "ledger_without_result"
	LedgerDisagrees        Kind = "ledger_disagrees"
	DeadLetterWithoutOrder Kind = "dead_letter_without_order"
	ViewMissing            Kind = "view_missing"
	ViewWrong              Kind = "view_wrong"
	ViewWithoutOrder       Kind = "view_without_order"
	NotCounted             Kind = "not_counted"
	CountedWrong           Kind = "counted_wrong"
	CountedWithoutResult   Kind = "counted_without_result"
	TotalsWrong            Kind = "totals_wrong"
	OutsideLog             Kind = "outside_log"
)

// kinds gives each kind, in the order in which one order's are told, its words.
func kinds() []struct {
	Kind  Kind
	Words string
} {
	return []struct {
		Kind  Kind
		Words string
	}{
		{OutsideLog, "a position is outside the log"},
		{TotalsWrong, "analyseur's totals are wrong"},
		{Lost, "lost"},
		{Undecided, "undecided, and paiement's state was not looked at"},
		{DecidedTwice, "decided twice"},
		{CreatedTwice, "created twice"},
		{AmountDiffers, "decided for another amount"},
		{ResultWithoutOrder, "decided without an order"},
		{ResultWithoutLedger, "decided without a ledger row"},
		{LedgerWithoutResult, "in the ledger without a published result"},
		{LedgerDisagrees, "ledger and result disagree"},
		{DeadLetterWithoutOrder, "dead-lettered without an order"},
		{ViewMissing, "missing in suivi"},
		{ViewWrong, "wrong in suivi"},
		{ViewWithoutOrder, "in suivi without a record"},
		{NotCounted, "not counted by analyseur"},
		{CountedWrong, "counted wrong by analyseur"},
		{CountedWithoutResult, "counted by analyseur without a result"},
	}
}

// Words says the kind in English.
func (k Kind) Words() string {
	for _, each := range kinds() {
		if each.Kind == k {
			return each.Words
		}
	}
	return string(k)
}

func (k Kind) rank() int {
	for i, each := range kinds() {
		if each.Kind == k {
			return i
		}
	}
	return len(kinds())
}

// Difference is one thing that is not as it should be.
type Difference struct {
	Kind Kind `json:"kind"`
	// OrderID is the order concerned; "" where it is none in particular.
	OrderID string `json:"orderId"`
	// Detail says in one line what was found where.
	Detail string `json:"detail"`

	subject string // tells differences of one kind and order apart
	missing Sum    // what it takes out of the account
}

// differenceKey names a difference from one look to the next.
type differenceKey struct {
	kind             Kind
	orderID, subject string
}

func (d Difference) key() differenceKey { return differenceKey{d.Kind, d.OrderID, d.subject} }

// sortDifferences puts them into the order of the order ids, numbers by their
// value; what concerns no order comes first.
func sortDifferences(all []Difference) {
	slices.SortFunc(all, func(a, b Difference) int {
		return cmp.Or(compareIDs(a.OrderID, b.OrderID), cmp.Compare(a.Kind.rank(), b.Kind.rank()),
			strings.Compare(a.subject, b.subject), strings.Compare(a.Detail, b.Detail))
	})
}

// compareIDs compares ids such as order-9 and order-10.
func compareIDs(a, b string) int {
	textA, numberA := splitID(a)
	textB, numberB := splitID(b)
	return cmp.Or(strings.Compare(textA, textB), cmp.Compare(len(numberA), len(numberB)), strings.Compare(numberA, numberB),
		strings.Compare(a, b))
}

// splitID parts an id from the number that it ends with, without leading zeros.
func splitID(id string) (text, number string) {
	text = strings.TrimRight(id, "0123456789")
	return text, strings.TrimLeft(id[len(text):], "0")
}
