package audit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// world is a model of the system: topics, and the services as the design has
// them. Each step is one that the system can be seen between.
type world struct {
	log   map[record.Partition][]record.Record
	start map[record.Partition]int64 // where retention has cut

	paiement, suivi, analyseur Positions

	pending      []record.Record
	ledger       map[string]LedgerRow
	views        map[string]View
	seen         map[string]map[string]bool // suivi's histories
	totals       map[string]Sum
	transactions map[string]Transaction

	fails  func(banking.OrderCreated) bool // the authoriser, at this moment
	now    time.Time
	number int
}

func newWorld() *world {
	return &world{
		log: map[record.Partition][]record.Record{}, start: map[record.Partition]int64{},
		paiement: Positions{}, suivi: Positions{}, analyseur: Positions{},
		ledger: map[string]LedgerRow{}, views: map[string]View{}, seen: map[string]map[string]bool{},
		totals: map[string]Sum{}, transactions: map[string]Transaction{},
		fails: func(banking.OrderCreated) bool { return false },
		now:   time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// partitionOf is the partition of an order's records, in every topic.
func partitionOf(topic, id string) record.Partition {
	n := 0
	for _, c := range id {
		n += int(c)
	}
	return record.Partition{Topic: topic, ID: int32(n % banking.Partitions)}
}

// publish appends a record to its topic and returns its place.
func (w *world) publish(m record.Message) record.Place {
	w.now = w.now.Add(time.Millisecond)
	p := partitionOf(m.Topic, string(m.Key))
	offset := w.start[p] + int64(len(w.log[p]))
	w.log[p] = append(w.log[p], record.Record{
		Place: record.Place{Partition: p, Offset: offset}, Key: m.Key, Value: m.Value, Headers: m.Headers, Time: w.now,
	})
	return record.Place{Partition: p, Offset: offset}
}

func (w *world) at(at record.Place) record.Record {
	return w.log[at.Partition][at.Offset-w.start[at.Partition]]
}

// create takes an order.
func (w *world) create(amount banking.Money) (banking.OrderCreated, record.Place) {
	w.number++
	return w.createAs(fmt.Sprintf("order-%d", w.number), "event-"+strconv.Itoa(w.number), amount)
}

func (w *world) createAs(id, event string, amount banking.Money) (banking.OrderCreated, record.Place) {
	order := banking.OrderCreated{
		EventID: event, OrderID: id, UserID: "user", Amount: amount, Status: banking.StatusCreated, CreatedAt: w.now,
	}
	return order, w.publish(must(delivery.Encode(order, "")))
}

// outcome is a result as paiement makes it.
func (w *world) outcome(order banking.OrderCreated, event string, authorized bool) record.Message {
	var e banking.Event = banking.PaymentRejected{
		EventID: event, OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount,
		Status: banking.StatusRejected, RejectionReason: "limit", ProcessedAt: w.now,
	}
	if authorized {
		e = banking.PaymentAuthorized{
			EventID: event, OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount,
			Status: banking.StatusAuthorized, AuthorizationCode: "code", ProcessedAt: w.now,
		}
	}
	return must(delivery.Encode(e, order.EventID))
}

// deadLetter is a record as a group sets it aside.
func deadLetter(r record.Record, group string, reason delivery.Reason) record.Message {
	origin := record.Origin{
		Place: r.Place, EventID: r.Header(record.HeaderEventID), Group: group, Attempts: 3,
		Class: "transient", Reason: string(reason), Message: "failed", FailedAt: r.Time,
	}
	return record.Message{
		Topic: banking.DeadLetterTopic(r.Topic), Key: r.Key, Value: r.Value, Headers: slices.Concat(origin.Headers(), r.Headers),
	}
}

var markedAt = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// markerFor is the record that says what became of a dead letter.
func markerFor(at record.Place, key, resolution string) record.Message {
	return record.Marker{Letter: at, Resolution: resolution, At: markedAt}.Message([]byte(key))
}

// next returns the record that a service reads next of a partition.
func (w *world) next(positions Positions, p record.Partition) (record.Record, bool) {
	if _, begun := positions[p]; !begun {
		positions[p] = w.start[p]
	}
	i := positions[p] - w.start[p]
	if i < 0 || i >= int64(len(w.log[p])) {
		return record.Record{}, false
	}
	positions[p]++
	return w.log[p][i], true
}

// decide has paiement read one record: state, outbox and position change
// together.
func (w *world) decide(partition int32) bool {
	r, ok := w.next(w.paiement, record.Partition{Topic: banking.TopicOrdersCreated, ID: partition})
	if !ok {
		return false
	}
	order, err := delivery.DecodeAs[banking.OrderCreated](r)
	if err != nil {
		w.enqueue(deadLetter(r, banking.GroupPaiement, delivery.ReasonMalformed))
		return true
	}
	row, decided := w.ledger[order.OrderID]
	switch {
	case decided && row.EventID == order.EventID:
	case decided:
		w.enqueue(deadLetter(r, banking.GroupPaiement, delivery.ReasonContradictory))
	case w.fails(order):
		w.enqueue(deadLetter(r, banking.GroupPaiement, delivery.ReasonAuthoriser))
	default:
		authorized := order.Amount%5 != 0
		m := w.outcome(order, banking.ResultEventID(order.EventID), authorized)
		w.enqueue(m)
		row := LedgerRow{order.OrderID, order.EventID, banking.ResultEventID(order.EventID), banking.StatusRejected, order.Amount, w.now}
		if authorized {
			row.Status = banking.StatusAuthorized
		}
		w.ledger[order.OrderID] = row
	}
	return true
}

func (w *world) enqueue(m record.Message) {
	w.pending = append(w.pending, record.Record{
		Place: record.At(m.Topic, 0, 0), Key: m.Key, Value: m.Value, Headers: m.Headers,
	})
}

// flush publishes what waits; mark forgets it. Between the two a crash has it
// published again.
func (w *world) flush() {
	for _, r := range w.pending {
		w.publish(record.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
}

func (w *world) mark() { w.pending = nil }

// show has suivi read one record.
func (w *world) show(p record.Partition) bool {
	r, ok := w.next(w.suivi, p)
	if !ok {
		return false
	}
	id, fact := decode(r)
	switch f := fact.(type) {
	case creation:
		w.showFact(id, "created", f.event, banking.OrderStatusCreated, f.amount)
	case result:
		w.showFact(id, "decided", f.event, f.shown(), f.amount)
	case letter:
		if f.group == banking.GroupPaiement && id != "" {
			w.showFact(id, f.origin.String(), "", banking.OrderStatusFailed, f.amount)
		}
	}
	return true
}

func (w *world) showFact(id, moment, event string, status banking.OrderStatus, amount banking.Money) {
	seen := w.seen[id]
	if seen == nil {
		seen = map[string]bool{}
		w.seen[id] = seen
	}
	for other := range seen { // contradicted, or seen before
		if head, _, _ := cutLast(other); head == moment {
			return
		}
	}
	seen[moment+"|"+event] = true
	v := w.views[id]
	v.OrderID, v.Amount, v.Events = id, amount, v.Events+1
	if status.Replaces(v.Status) {
		v.Status = status
	}
	w.views[id] = v
}

func cutLast(text string) (head, tail string, ok bool) {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '|' {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// count has analyseur read one record.
func (w *world) count(p record.Partition) bool {
	r, ok := w.next(w.analyseur, p)
	if !ok {
		return false
	}
	id, fact := decode(r)
	if f, ok := fact.(result); ok && w.transactions[id] == (Transaction{}) {
		w.transactions[id] = Transaction{id, f.event, f.status, f.amount}
		w.totals[f.status] = w.totals[f.status].plus(f.amount)
	}
	return true
}

// settle lets everything that is under way end.
func (w *world) settle() {
	for p := range int32(banking.Partitions) {
		for w.decide(p) {
		}
	}
	w.flush()
	w.mark()
	w.showAll()
}

// showAll lets suivi and analyseur read everything.
func (w *world) showAll() {
	for p := range int32(banking.Partitions) {
		for _, topic := range topicsOf(suivi) {
			for w.show(record.Partition{Topic: topic, ID: p}) {
			}
		}
		for _, topic := range topicsOf(analyseur) {
			for w.count(record.Partition{Topic: topic, ID: p}) {
			}
		}
	}
}

// state is a copy of what the services have stored.
func (w *world) state() State {
	return State{
		Paiement: &Paiement{maps.Clone(w.paiement), slices.Clone(w.pending), slices.Collect(maps.Values(w.ledger))},
		Suivi:    &Suivi{maps.Clone(w.suivi), slices.Collect(maps.Values(w.views))},
		Analyseur: &Analyseur{
			maps.Clone(w.analyseur), maps.Clone(w.totals), slices.Collect(maps.Values(w.transactions)),
		},
	}
}

// spans are where a topic's logs begin and end now.
func (w *world) spans(topics ...string) (out []kafka.Span) {
	for _, topic := range topics {
		for id := range int32(banking.Partitions) {
			p := record.Partition{Topic: topic, ID: id}
			out = append(out, kafka.Span{Partition: p, Start: w.start[p], End: w.start[p] + int64(len(w.log[p]))})
		}
	}
	return out
}

// scan gives the spans' records.
func (w *world) scan(spans []kafka.Span, read func(record.Record) error) error {
	for _, s := range spans {
		for i := s.Start; i < s.End; i++ {
			if err := read(w.at(record.Place{Partition: s.Partition, Offset: i})); err != nil {
				return err
			}
		}
	}
	return nil
}

// audit reconciles the world as it stands.
func (w *world) audit() Report { return reconcileWith(w, w.state()) }

func reconcileWith(w *world, s State) Report {
	l := NewLog()
	spans := w.spans(topics()...)
	l.Extend(spans)
	_ = w.scan(spans, func(r record.Record) error { l.Add(r); return nil })
	return Reconcile(l, s, time.Time{})
}

// cutLog has retention remove the first n records of a partition.
func (w *world) cutLog(p record.Partition, n int) {
	w.log[p], w.start[p] = w.log[p][n:], w.start[p]+int64(n)
}
