package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what an audit found. Its JSON form is a contract: names are added,
// never changed.
type Report struct {
	// AccountedFor says that every order is accounted for once: there is no
	// difference, and nothing that the audit cannot tell.
	AccountedFor bool `json:"accountedFor"`
	// CannotTellWhy says what the audit cannot tell, and why.
	CannotTellWhy []string `json:"cannotTellWhy"`
	// TellsFrom is when the orders were created of which retention has cut
	// nothing; nil stands for all. Older ones are judged by what is left.
	TellsFrom *time.Time `json:"tellsFrom"`
	// Since is when the first order was created that was asked for; nil stands
	// for all.
	Since *time.Time `json:"since"`
	// Looks is how often differences were looked at again, and the first look.
	Looks int `json:"looks"`
	// Records is how many records of the log were asked for.
	Records int64 `json:"records"`

	// Created is the sum of all orders in the log; each stands in exactly one
	// of the sums below.
	Created      Sum `json:"created"`
	Authorized   Sum `json:"authorized"`
	Rejected     Sum `json:"rejected"`
	DeadLettered Sum `json:"deadLettered"`
	Purged       Sum `json:"purged"`
	InFlight     Sum `json:"inFlight"`
	// CannotTell are orders whose decision retention may have taken out of the
	// log, and age out of the ledger.
	CannotTell  Sum `json:"cannotTell"`
	Unaccounted Sum `json:"unaccounted"`

	Republished      Republished       `json:"republished"`
	Unreadable       Unreadable        `json:"unreadable"`
	OlderThanLog     Older             `json:"olderThanLog"`
	Cut              []Cut             `json:"cut"`
	OtherDeadLetters []OtherDeadLetter `json:"otherDeadLetters"`
	Services         []Service         `json:"services"`

	DifferenceCount int64 `json:"differenceCount"`
	// DifferenceAmount is the sum of the differences' amounts: a euro that is wrong
	// in two ways is in it twice.
	DifferenceAmount Cents          `json:"differenceAmount"`
	Kinds            map[Kind]int64 `json:"differencesByKind"`
	// Differences are sorted by order id.
	Differences []Difference `json:"differences"`
}

// Republished counts records that stand in the log again under the same event
// id. That is information, not a difference.
type Republished struct {
	Orders      int64 `json:"orders"`
	Results     int64 `json:"results"`
	DeadLetters int64 `json:"deadLetters"`
}

// Unreadable counts records that are not what their topic promises.
type Unreadable struct {
	Orders             int64 `json:"orders"` // on orders.created, and of these:
	OrdersDeadLettered int64 `json:"ordersDeadLettered"`
	OrdersInFlight     int64 `json:"ordersInFlight"`
	Elsewhere          int64 `json:"elsewhere"`
}

// Older counts what the services remember of orders that retention has taken
// out of the log, wholly or in part. About these the audit says nothing.
type Older struct {
	Ledger       int64 `json:"ledgerRows"`
	Results      int64 `json:"results"`
	DeadLetters  int64 `json:"deadLetters"`
	Views        int64 `json:"views"`
	Transactions int64 `json:"transactions"`
}

// Cut says from where on a partition's log can be read.
type Cut struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// From is the time of the first record that is left; nil if none is, or if it
	// was not read.
	From *time.Time `json:"from"`
}

// OtherDeadLetter counts what another group than paiement's has set aside.
type OtherDeadLetter struct {
	Group    string `json:"group"`
	Topic    string `json:"topic"` // where the records came from
	Reason   string `json:"reason"`
	Waiting  int64  `json:"waiting"`
	Replayed int64  `json:"replayed"`
	Purged   int64  `json:"purged"`
}

// Service says how a service's state was looked at.
type Service struct {
	Name     string `json:"service"`
	LookedAt bool   `json:"lookedAt"`
	Problem  string `json:"problem,omitempty"` // why not
	Unread   int64  `json:"unread"`            // records that it has yet to process
	Outbox   int64  `json:"outbox"`            // messages that it has yet to publish
}

// Limit keeps the first n differences; the counts stay.
func (r Report) Limit(n int) Report {
	r.Differences = slices.Clip(r.Differences[:min(n, len(r.Differences))])
	return r
}

// Kind says what is wrong. Its text is part of the JSON output.
type Kind string

// The kinds of differences.
const (
	Lost                   Kind = "lost"
	Undecided              Kind = "undecided"
	CreatedTwice           Kind = "created_twice"
	DecidedTwice           Kind = "decided_twice"
	AmountDiffers          Kind = "amount_differs"
	UserDiffers            Kind = "user_differs"
	CauseDiffers           Kind = "cause_differs"
	DecidedAndDeadLettered Kind = "decided_and_dead_lettered"
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
	PurgedAndDecided       Kind = "purged_and_decided"
	PurgeWithoutLedger     Kind = "purge_without_ledger"
	LedgerWithoutPurge     Kind = "ledger_without_purge"
	CountWrong             Kind = "count_wrong"
	MinutesWrong           Kind = "minutes_wrong"
	TooManyRecords         Kind = "too_many_records"
)

// kinds gives each kind its words, in the order in which one order's are listed.
func kinds() []struct {
	Kind  Kind
	Words string
} {
	return []struct {
		Kind  Kind
		Words string
	}{
		{OutsideLog, "a position is outside the log"},
		{CountWrong, "suivi's count of orders is wrong"},
		{TotalsWrong, "analyseur's totals are wrong"},
		{MinutesWrong, "analyseur's minutes are wrong"},
		{TooManyRecords, "has too many records"},
		{Lost, "lost"},
		{Undecided, "undecided, and paiement's state was not looked at"},
		{DecidedTwice, "decided twice"},
		{PurgedAndDecided, "purged and decided"},
		{CreatedTwice, "created twice"},
		{AmountDiffers, "decided for another amount"},
		{UserDiffers, "decided for another user"},
		{CauseDiffers, "decided for another event"},
		{DecidedAndDeadLettered, "decided and dead-lettered"},
		{ResultWithoutOrder, "decided without an order"},
		{ResultWithoutLedger, "decided without a ledger row"},
		{LedgerWithoutResult, "in the ledger without a published result"},
		{LedgerDisagrees, "ledger and result disagree"},
		{PurgeWithoutLedger, "purged without a ledger row"},
		{LedgerWithoutPurge, "in the ledger as purged, without a purge"},
		{DeadLetterWithoutOrder, "dead-lettered without an order"},
		{ViewMissing, "missing in suivi"},
		{ViewWrong, "wrong in suivi"},
		{ViewWithoutOrder, "in suivi without a record"},
		{NotCounted, "not counted by analyseur"},
		{CountedWrong, "counted wrong by analyseur"},
		{CountedWithoutResult, "counted by analyseur without a result"},
	}
}

// Kinds are all that there are.
func Kinds() (all []Kind) {
	for _, each := range kinds() {
		all = append(all, each.Kind)
	}
	return all
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

// Difference is one thing that is not as it should be.
type Difference struct {
	Kind Kind `json:"kind"`
	// OrderID is the order concerned; "" where it is none in particular.
	OrderID string `json:"orderId"`
	// Detail says in one line what was found where.
	Detail string `json:"detail"`
	// Amount is the euros that it is about: those of an order that is left out, or
	// how far two amounts are apart; 0 where it is not about money.
	Amount Cents `json:"amount"`

	subject string // distinguishes differences of one kind and order
	missing Sum    // what it takes out of the account
}

func (*Difference) kind() byte { return factDifference }

func (d *Difference) fields(c *codec) {
	c.text((*string)(&d.Kind))
	c.text(&d.OrderID)
	c.text(&d.Detail)
	d.Amount.fields(c)
	d.missing.fields(c)
}

// Text is the report for people: a short table, what has to be known to read
// it, and the differences.
func (r Report) Text() string {
	var b strings.Builder
	rows := r.rows()
	width := len(rows[0].sum.Amount.String())
	fmt.Fprintf(&b, "%-16s%10s  %*s\n", "", "orders", max(width, 10), "euros")
	for _, row := range rows {
		fmt.Fprintf(&b, "%-16s%10d  %*s\n", row.name, row.sum.Count, max(width, 10), row.sum.Amount)
	}
	b.WriteByte('\n')
	for _, line := range r.notes() {
		b.WriteString(line + "\n")
	}
	for i, d := range r.Differences {
		if i == 0 {
			fmt.Fprintf(&b, "\ndifferences: %d\n", r.DifferenceCount)
		}
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(d.title()+d.Detail, "\n", `\n`)) // an id may be anything
	}
	if more := r.DifferenceCount - int64(len(r.Differences)); more > 0 && len(r.Differences) > 0 {
		fmt.Fprintf(&b, "  and %d more; --limit shows more of them\n", more)
	}
	for i, why := range r.CannotTellWhy {
		if i == 0 {
			b.WriteString("\ncannot tell:\n")
		}
		b.WriteString("  " + why + "\n")
	}
	if r.AccountedFor {
		b.WriteString("\n" + r.verdict() + "\n")
	}
	return b.String()
}

// verdict is for a log and a state that fit. Of what retention or an operator has
// cut from the log, nothing can be said.
func (r Report) verdict() string {
	if len(r.Cut) > 0 {
		return "every order that is left in the log is accounted for once"
	}
	return "every order is accounted for once"
}

// title begins the line of a difference.
func (d Difference) title() string {
	if d.OrderID == "" {
		return d.Kind.Words() + ": "
	}
	return d.OrderID + " " + d.Kind.Words() + ": "
}

type row struct {
	name string
	sum  Sum
}

func (r Report) rows() []row {
	rows := []row{
		{"created", r.Created}, {"authorized", r.Authorized}, {"rejected", r.Rejected}, {"dead-lettered", r.DeadLettered},
		{"purged", r.Purged}, {"in flight", r.InFlight},
	}
	if r.CannotTell.Count > 0 {
		rows = append(rows, row{"cannot tell", r.CannotTell})
	}
	return append(rows, row{"unaccounted for", r.Unaccounted})
}

// notes are the lines that there is something to say in.
func (r Report) notes() (lines []string) {
	lines = append(lines, fmt.Sprintf("log: records read: %d", r.Records))
	if r.Since != nil {
		lines = append(lines, "orders created since "+r.Since.Format(time.RFC3339)+" alone")
	}
	if r.TellsFrom != nil {
		lines = append(lines, "tells from "+r.TellsFrom.Format(time.RFC3339)+" on: before that, retention has cut the log")
	}
	for _, s := range r.Services {
		lines = append(lines, s.text())
	}
	for _, c := range r.Cut {
		line := fmt.Sprintf("cut: %s/%d is complete from offset %d on", c.Topic, c.Partition, c.Offset)
		if c.From != nil {
			line += ", of " + c.From.Format(time.RFC3339)
		}
		lines = append(lines, line)
	}
	lines = append(lines, counts("older than the log", count{r.OlderThanLog.Ledger, "ledger rows"}, count{r.OlderThanLog.Results, "results"},
		count{r.OlderThanLog.DeadLetters, "dead letters"}, count{r.OlderThanLog.Views, "views of suivi"},
		count{r.OlderThanLog.Transactions, "transactions of analyseur"})...)
	lines = append(lines, counts("republished under the same event id", count{r.Republished.Orders, "orders"},
		count{r.Republished.Results, "results"}, count{r.Republished.DeadLetters, "dead letters"})...)
	if u := r.Unreadable; u.Orders > 0 {
		lines = append(lines, fmt.Sprintf("unreadable records on orders.created: %d (%d dead-lettered, %d in flight)",
			u.Orders, u.OrdersDeadLettered, u.OrdersInFlight))
	}
	if n := r.Unreadable.Elsewhere; n > 0 {
		lines = append(lines, fmt.Sprintf("unreadable records on other topics: %d", n))
	}
	for _, d := range r.OtherDeadLetters {
		lines = append(lines, fmt.Sprintf("dead letters of %s, from %s, %s: %d waiting, %d replayed, %d purged",
			d.Group, d.Topic, d.Reason, d.Waiting, d.Replayed, d.Purged))
	}
	return lines
}

func (s Service) text() string {
	if !s.LookedAt {
		return fmt.Sprintf("%s: not looked at: %s", s.Name, s.Problem)
	}
	text := fmt.Sprintf("%s: records to read: %d", s.Name, s.Unread)
	if s.Outbox > 0 {
		text += fmt.Sprintf(", messages to publish: %d", s.Outbox)
	}
	return text
}

type count struct {
	n    int64
	what string
}

// counts makes one line of what is not zero, or none.
func counts(title string, all ...count) []string {
	var parts []string
	for _, c := range all {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", c.what, c.n))
		}
	}
	if parts == nil {
		return nil
	}
	return []string{title + ": " + strings.Join(parts, ", ")}
}
