//go:build unix

package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/vigie-dev/vigie/internal/audit"
	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/internal/journeys"
	"github.com/vigie-dev/vigie/internal/record"
)

// evidence is all that is known after a round: the clients' replies, what
// we put into the topics ourselves, what clients can see, and the audit's report.
type evidence struct {
	Replies []reply
	Records map[string][]record.Record     // of all topics, those among them that were deleted
	Deleted map[record.Place]bool          // from the topics, by an operator
	Poison  map[record.Place]record.Record // records that we put among them
	Never   []string                       // orders that nobody may decide or show
	// Rebuilt says that the services' state was made again after the last deletion.
	Rebuilt bool
	// Since is when an operator had deleted all topics, and with them what was
	// acknowledged before; zero for never.
	Since time.Time
	Audit audit.Report
	views
	Journeys []counted // what each instance of sentinelle says
}

// verdict is what the evidence amounts to.
type verdict struct {
	Acknowledged int // orders that clients got a 201 for
	Unanswered   int // requests whose outcome their client does not know
	DeadLettered int64
	Purged       int64
	// Republished counts records beyond the first with their event id, which
	// readers have to drop.
	Republished int64
	// Back is how long after the repair orders were taken again, and Rest how
	// long after the load's end everything had been processed.
	Back, Rest time.Duration
	// Violations are broken promises, each with the order it concerns.
	Violations []string
}

// judge checks what only clients and we ourselves can know, and takes the
// audit's word for the rest: that every order is decided once, or a dead
// letter, and that the services' state says so too.
func judge(e evidence) verdict {
	j := &judgement{evidence: e, orders: map[string]order{}, results: map[string]result{}, letters: map[string]bool{}}
	j.readOrders()
	j.readResults()
	j.checkReplies()
	j.checkLetters()
	j.checkOutcomes()
	j.checkAudit()
	j.checkViews()
	j.checkJourneys()
	return j.verdict
}

// judgement is a verdict in the making.
type judgement struct {
	evidence
	verdict
	orders  map[string]order  // by event id
	results map[string]result // by order id
	letters map[string]bool   // of paiement's, by the order's event id
	waiting int64             // letters that were neither replayed nor purged
}

// order is one order in the log.
type order struct {
	event
	cents int64
	left  bool // in the log, and not only among what was deleted
}

// result is the decision about an order.
type result struct {
	event
	cents      int64
	authorized bool
	left       bool // as an order's
}

func (j *judgement) violated(format string, args ...any) {
	j.Violations = append(j.Violations, fmt.Sprintf(format, args...))
}

// readOrders reads the orders of the log. An event may be there several times.
func (j *judgement) readOrders() {
	for _, r := range j.Records[banking.TopicOrdersCreated] {
		if _, ours := j.Poison[r.Place]; ours {
			continue
		}
		e, amount, err := decode(r)
		if err != nil {
			j.violated("an order cannot be read: %v", err)
			continue
		}
		j.orders[e.EventID] = order{e, amount, j.orders[e.EventID].left || !j.Deleted[r.Place]}
	}
}

// readResults reads the decisions. One may be there several times, but no order
// has two.
func (j *judgement) readResults() {
	for _, topic := range []string{banking.TopicPaymentsAuthorized, banking.TopicPaymentsRejected} {
		for _, r := range j.Records[topic] {
			if _, ours := j.Poison[r.Place]; ours {
				continue
			}
			e, amount, err := decode(r)
			if err != nil {
				j.violated("a decision cannot be read: %v", err)
				continue
			}
			other, twice := j.results[e.OrderID]
			if twice && other.EventID != e.EventID {
				j.violated("%s: decided twice, as %s and %s", e.OrderID, other.EventID, e.EventID)
			}
			j.results[e.OrderID] = result{e, amount, topic == banking.TopicPaymentsAuthorized, other.left || !j.Deleted[r.Place]}
		}
	}
}

// checkOutcomes looks for what became of each order: a decision about its own
// amount, or a dead letter, which may have been purged since.
func (j *judgement) checkOutcomes() {
	known := map[string]bool{}
	for _, o := range j.orders {
		known[o.OrderID] = true
		switch r, decided := j.results[o.OrderID]; {
		case !decided && !j.letters[o.EventID]:
			j.violated("%s: neither decided nor set aside", o.OrderID)
		case decided && r.cents != o.cents:
			j.violated("%s: decided for %d cents, ordered for %d", o.OrderID, r.cents, o.cents)
		}
	}
	for id := range j.results {
		if !known[id] {
			j.violated("%s: decided without an order", id)
		}
	}
	for _, id := range j.Never {
		if _, shown := j.Suivi[id]; shown || known[id] {
			j.violated("%s: aborted with its transaction, and there all the same", id)
		}
	}
}

// event is what a record's value says; absent fields are empty.
type event struct {
	EventID string      `json:"eventId"`
	OrderID string      `json:"orderId"`
	UserID  string      `json:"userId"`
	Amount  json.Number `json:"amount"`
	Status  string      `json:"status"`
}

// decode reads an event out of a record and checks it against the record's key
// and headers.
func decode(r record.Record) (e event, amount int64, err error) {
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return e, 0, fmt.Errorf("%s: %w", r.Place, err)
	}
	switch {
	case e.OrderID != string(r.Key):
		return e, 0, fmt.Errorf("%s: key %q, orderId %q", r.Place, r.Key, e.OrderID)
	case e.EventID == "" || e.EventID != r.Header(record.HeaderEventID):
		return e, 0, fmt.Errorf("%s: eventId %q, header %q", r.Place, e.EventID, r.Header(record.HeaderEventID))
	}
	amount, err = cents(e.Amount)
	if err != nil {
		return e, 0, fmt.Errorf("%s: %w", r.Place, err)
	}
	return e, amount, nil
}

// checkReplies compares what clients sent and received with the orders in the
// log. Every request has a user of its own, so that a request that became two
// orders shows, and one that was never made.
func (j *judgement) checkReplies() {
	byRequest := map[string]order{}
	for _, o := range j.orders {
		if other, twice := byRequest[o.UserID]; twice {
			j.violated("%s: the request of %s is also %s", o.OrderID, o.UserID, other.OrderID)
		}
		byRequest[o.UserID] = o
	}
	given := map[string]bool{}
	for _, a := range j.Replies {
		o, found := byRequest[a.Request]
		delete(byRequest, a.Request)
		if found && o.cents != a.Cents {
			j.violated("%s: %d cents in the log, %d were sent", o.OrderID, o.cents, a.Cents)
		}
		if a.Status != http.StatusCreated {
			if a.Status != 0 && a.Status != http.StatusServiceUnavailable {
				j.violated("the request of %s was answered with %d", a.Request, a.Status)
			}
			if found && a.Problem.Facts().Effect == httpapi.NotDone {
				j.violated("%s: the log has the request of %s, whose reply says that nothing was done (%s)", o.OrderID, a.Request, a.Problem)
			}
			j.Unanswered++
			continue
		}
		j.Acknowledged++
		if given[a.OrderID] {
			j.violated("%s: two clients got this id", a.OrderID)
		}
		given[a.OrderID] = true
		switch {
		case !found && a.Sent.Before(j.Since): // gone with its topic
		case !found:
			j.violated("%s: acknowledged and not in the log", a.OrderID)
		case o.OrderID != a.OrderID || o.EventID != a.EventID:
			j.violated("%s: the log has the request as %s, event %s", a.OrderID, o.OrderID, o.EventID)
		}
	}
	for request, o := range byRequest {
		j.violated("%s: nobody sent the request of %s", o.OrderID, request)
	}
}

// checkLetters looks for a dead letter of each poison record for each group that
// read it. Any other dead letter is of an order that paiement could not decide.
func (j *judgement) checkLetters() {
	due := map[string]record.Record{} // group and position of the poison → the poison
	for p, r := range j.Poison {
		for _, group := range settersAside(p.Topic) {
			due[group+" "+p.String()] = r
		}
	}
	seen, copies, resolved := map[string]bool{}, map[record.Place]string{}, map[record.Place]bool{}
	for _, topic := range []string{banking.TopicOrdersDLQ, banking.TopicPaymentsDLQ} {
		for _, r := range j.Records[topic] {
			if m, err := record.ParseMarker(r); err == nil { // of a replay or a purge
				resolved[m.Letter] = true
				continue
			}
			origin, _, err := record.ParseOrigin(r)
			if err != nil {
				j.violated("%s cannot be read: %v", r.Place, err)
				continue
			}
			name := origin.Group + " " + origin.Place.String()
			copies[r.Place] = name
			if seen[name] { // published again after a crash
				continue
			}
			seen[name] = true
			if poison, ok := due[name]; ok {
				delete(due, name)
				j.checkPoison(name, poison, r)
				continue
			}
			j.letters[origin.EventID] = true
			o := j.orders[origin.EventID]
			if o.OrderID != string(r.Key) || origin.Group != banking.GroupPaiement || origin.Place.Topic != banking.TopicOrdersCreated {
				j.violated("%s: an unexplained dead letter of %s: %s", r.Key, name, origin.Message)
			}
		}
	}
	for name := range due {
		j.violated("poison: no dead letter of %s", name)
	}
	for place := range resolved {
		delete(seen, copies[place])
	}
	j.waiting = int64(len(seen))
}

func (j *judgement) checkPoison(name string, poison, letter record.Record) {
	if !bytes.Equal(poison.Key, letter.Key) || !bytes.Equal(poison.Value, letter.Value) || (poison.Value == nil) != (letter.Value == nil) {
		j.violated("poison: the dead letter of %s has key %q and value %q", name, letter.Key, letter.Value)
	}
}

// checkAudit passes on what the audit finds wrong, and makes sure that it has
// looked at everything that we know of.
func (j *judgement) checkAudit() {
	r := j.Audit
	for _, d := range r.Differences {
		j.violated("audit: %s %s: %s", d.OrderID, d.Kind.Words(), d.Detail)
	}
	for _, why := range r.CannotTellWhy {
		j.violated("audit: it cannot tell: %s", why)
	}
	if !r.AccountedFor {
		j.violated("audit: differences: %d", r.DifferenceCount)
	}
	var want audit.Sum
	for _, o := range j.orders {
		if o.left {
			want = want.Plus(banking.Money(o.cents))
		}
	}
	if r.Created != want {
		j.violated("the audit has seen %d orders of %s, the log has %d of %s", r.Created.Count, r.Created.Amount, want.Count, want.Amount)
	}
	if decided := r.Authorized.Count + r.Rejected.Count; decided+r.DeadLettered.Count+r.Purged.Count != r.Created.Count {
		j.violated("audit: of %d orders, %d are decided, %d dead letters and %d purged", r.Created.Count, decided, r.DeadLettered.Count, r.Purged.Count)
	}
	var poison audit.Unreadable
	for p := range j.Poison {
		if p.Topic == banking.TopicOrdersCreated {
			poison.Orders, poison.OrdersDeadLettered = poison.Orders+1, poison.OrdersDeadLettered+1
		} else {
			poison.Elsewhere++
		}
	}
	if r.Unreadable != poison {
		j.violated("the audit has seen unreadable records %+v, we put %+v", r.Unreadable, poison)
	}
	if len(r.Services) == 0 {
		j.violated("the audit has looked at no service")
	}
	for _, s := range r.Services {
		if !s.LookedAt || s.Unread > 0 || s.Outbox > 0 {
			j.violated("the audit has seen %+v, which was to be at rest", s)
		}
	}
	j.DeadLettered, j.Purged = r.DeadLettered.Count, r.Purged.Count
	j.Republished = r.Republished.Orders + r.Republished.Results + r.Republished.DeadLetters
}

// checkViews compares what suivi and analyseur show their clients with what
// the clients sent and with what was decided.
func (j *judgement) checkViews() {
	ids := map[string]bool{}
	for _, o := range j.orders {
		ids[o.OrderID] = true
		j.checkView(o)
	}
	if j.SuiviTotal != int64(len(ids)) {
		j.violated("suivi counts %d orders, there are %d", j.SuiviTotal, len(ids))
	}
	var want totals
	for _, r := range j.results {
		if j.Rebuilt && !r.left {
			continue
		}
		want.Transactions, want.Cents = want.Transactions+1, want.Cents+r.cents
		if r.authorized {
			want.Authorized++
		} else {
			want.Rejected++
		}
	}
	if j.Totals != want {
		j.violated("analyseur says %+v, there are %+v", j.Totals, want)
	}
	authorized, rejected := j.Audit.Authorized.Count, j.Audit.Rejected.Count
	if len(j.Deleted) == 0 && (authorized != want.Authorized || rejected != want.Rejected) {
		j.violated("the audit has seen %d authorized and %d rejected orders, there are %+v", authorized, rejected, want)
	}
}

// checkView compares suivi's view of an order with what was sent, and its
// status with its history.
func (j *judgement) checkView(o order) {
	got, ok := j.Suivi[o.OrderID]
	if !ok {
		j.violated("%s: suivi does not know it", o.OrderID)
		return
	}
	var status banking.OrderStatus
	creations, decisions, known := 0, 0, true
	for _, eventType := range got.Events {
		after := banking.StatusAfter(eventType)
		if known = known && after != ""; after.Replaces(status) {
			status = after
		}
		if after == banking.OrderStatusCreated {
			creations++
		}
		if after.Decided() {
			decisions++
		}
	}
	if !known || creations != 1 || decisions > 1 || got.Status != status || got.Cents != o.cents {
		j.violated("%s: suivi shows %+v, of %d cents that were sent", o.OrderID, got, o.cents)
	}
}

// checkJourneys compares what sentinelle has counted with what there is, to the order.
func (j *judgement) checkJourneys() {
	if len(j.Journeys) == 0 {
		j.violated("sentinelle says nothing")
	}
	for _, c := range j.Journeys {
		var all int64
		for _, n := range c.Outcomes {
			all += n
		}
		if all != int64(len(j.orders)) {
			j.violated("sentinelle has counted %d journeys of %d orders: %v", all, len(j.orders), c.Outcomes)
		}
		if len(j.Deleted) == 0 && all != j.Audit.Created.Count {
			j.violated("sentinelle has counted %d journeys, the audit has %d orders", all, j.Audit.Created.Count)
		}
		for _, never := range []journeys.Outcome{journeys.Lost, journeys.Contradictory} {
			if n := c.Outcomes[never]; n > 0 {
				j.violated("sentinelle calls %d orders %s, the audit none", n, never)
			}
		}
		if n := c.Outcomes[journeys.Purged]; n > j.Audit.Purged.Count {
			j.violated("sentinelle calls %d orders purged, the audit %d", n, j.Audit.Purged.Count)
		}
		if n := c.Outcomes[journeys.DeadLettered]; n > int64(len(j.letters)) {
			j.violated("sentinelle calls %d orders dead-lettered, there are letters of %d", n, len(j.letters))
		}
		if !c.Known || c.Waiting > 0 {
			j.violated("sentinelle has %d orders wait (known: %t), the audit none", c.Waiting, c.Known)
		}
		if c.Letters != j.waiting {
			j.violated("sentinelle has %d dead letters wait, the topics have %d", c.Letters, j.waiting)
		}
	}
}
