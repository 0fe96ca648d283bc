package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/extsort"
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
	counts       map[banking.OrderStatus]int64 // of the views, as suivi says
	totals       map[string]Sum
	transactions map[string]Transaction
	minutes      map[int64]Minute

	fails  func(banking.OrderCreated) bool // the authoriser, at this moment
	now    time.Time
	number int

	decidesFrom time.Time // before it the topics lack what the ledger kept
}

func newWorld() *world {
	return &world{
		log: map[record.Partition][]record.Record{}, start: map[record.Partition]int64{},
		paiement: Positions{}, suivi: Positions{}, analyseur: Positions{},
		ledger: map[string]LedgerRow{}, views: map[string]View{}, counts: map[banking.OrderStatus]int64{},
		totals: map[string]Sum{}, transactions: map[string]Transaction{}, minutes: map[int64]Minute{},
		fails: func(banking.OrderCreated) bool { return false },
		now:   time.Date(1999, 5, 1, 12, 0, 0, 0, time.UTC), // in the past of any clock, a simulated one included
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
	p, err := kafka.PartitionOf(id, banking.Partitions)
	if err != nil {
		panic(err)
	}
	return record.Partition{Topic: topic, ID: p}
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
		EventID: event, OrderID: id, UserID: "user", Amount: amount, Items: []string{"book", id}, Status: banking.StatusCreated, CreatedAt: w.now,
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

func markedAt() time.Time { return time.Date(1999, 5, 1, 12, 0, 0, 0, time.UTC) }

// markerFor is the record that says what became of a dead letter.
func markerFor(at record.Place, key, resolution string) record.Message {
	return record.Marker{Letter: at, Resolution: resolution, At: markedAt()}.Message([]byte(key))
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
	if event, purged := w.purged()[order.OrderID]; purged && !decided {
		row.EventID, decided = event, true
	}
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

// purged are the orders that the log ends, with the event of each.
func (w *world) purged() map[string]string {
	out := map[string]string{}
	for id := range int32(banking.Partitions) {
		for _, r := range w.log[record.Partition{Topic: banking.TopicOrdersDLQ, ID: id}] {
			if m, err := record.ParseMarker(r); err == nil && m.EventID != "" {
				out[string(r.Key)] = m.EventID
			}
		}
	}
	return out
}

// bind has paiement read one record of the dead letters: a purge enters the
// ledger, unless the order is there.
func (w *world) bind(partition int32) bool {
	r, ok := w.next(w.paiement, record.Partition{Topic: banking.TopicOrdersDLQ, ID: partition})
	if !ok {
		return false
	}
	id := string(r.Key)
	if m, err := record.ParseMarker(r); err == nil && m.EventID != "" && w.ledger[id] == (LedgerRow{}) {
		w.ledger[id] = LedgerRow{OrderID: id, EventID: m.EventID, Status: banking.StatusPurged, ProcessedAt: w.now}
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
	if p.Topic == banking.TopicOrdersDLQ {
		w.showLetter(r)
		return true
	}
	event, err := delivery.Decode(r)
	if err != nil {
		return true
	}
	v := View{OrderID: event.Order(), Status: banking.StatusAfter(event.Type())}
	switch e := event.(type) {
	case banking.OrderCreated:
		v.UserID, v.Amount, v.Items, v.CreatedAt = e.UserID, e.Amount, e.Items, e.CreatedAt
	case banking.PaymentAuthorized:
		v.UserID, v.Amount, v.AuthorizationCode, v.ProcessedAt = e.UserID, e.Amount, e.AuthorizationCode, e.ProcessedAt
	case banking.PaymentRejected:
		v.UserID, v.Amount, v.RejectionReason, v.ProcessedAt = e.UserID, e.Amount, e.RejectionReason, e.ProcessedAt
	}
	w.showMoment(v, Moment{event.ID(), event.Type(), event.Time()})
	return true
}

func (w *world) showLetter(r record.Record) {
	origin, original, err := record.ParseOrigin(r)
	if err != nil || origin.Group != banking.GroupPaiement || origin.Reason == string(delivery.ReasonContradictory) {
		return
	}
	order, err := delivery.DecodeAs[banking.OrderCreated](original)
	if err != nil {
		return
	}
	w.showMoment(View{
		OrderID: order.OrderID, UserID: order.UserID, Amount: order.Amount, Status: banking.OrderStatusFailed, FailureReason: origin.Reason,
	}, Moment{origin.Place.String(), banking.TypePaymentFailed, origin.FailedAt})
}

// showMoment adds what a record says to its order's view.
func (w *world) showMoment(said View, m Moment) {
	v, known := w.views[said.OrderID]
	status := banking.StatusAfter(m.Type)
	for _, other := range v.History { // seen before, or contradicted
		same := other.Type == m.Type || banking.StatusAfter(other.Type).Decided() && status.Decided()
		if other.EventID == m.EventID || same && status != banking.OrderStatusFailed {
			return
		}
	}
	if known {
		w.counts[v.Status]--
	}
	defer func() { w.counts[w.views[said.OrderID].Status]++ }()
	v.OrderID, v.UserID, v.Amount = said.OrderID, said.UserID, said.Amount
	if len(v.History) >= banking.MaxOrderEvents { // room is made by the oldest failure
		i := slices.IndexFunc(v.History, func(m Moment) bool { return m.Type == banking.TypePaymentFailed })
		v.History = slices.Delete(slices.Clone(v.History), i, i+1)
	}
	v.History = append(slices.Clone(v.History), m)
	switch {
	case status == banking.OrderStatusCreated:
		v.Items, v.CreatedAt, v.ListedAt = said.Items, said.CreatedAt, said.CreatedAt
	case v.ListedAt.IsZero():
		v.ListedAt = m.At
	}
	if status.Replaces(v.Status) {
		v.Status, v.ProcessedAt = status, said.ProcessedAt
		v.AuthorizationCode, v.RejectionReason, v.FailureReason = said.AuthorizationCode, said.RejectionReason, said.FailureReason
	}
	if m.At.After(v.UpdatedAt) {
		v.UpdatedAt = m.At
	}
	w.views[said.OrderID] = v
}

// tally has analyseur read one record.
func (w *world) tally(p record.Partition) bool {
	r, ok := w.next(w.analyseur, p)
	if !ok {
		return false
	}
	event, err := delivery.Decode(r)
	if err != nil || w.transactions[event.Order()] != (Transaction{}) {
		return true
	}
	t := Transaction{OrderID: event.Order(), EventID: event.ID(), ProcessedAt: event.Time()}
	switch e := event.(type) {
	case banking.PaymentAuthorized:
		t.UserID, t.Status, t.Amount = e.UserID, e.Status, e.Amount
	case banking.PaymentRejected:
		t.UserID, t.Status, t.Amount = e.UserID, e.Status, e.Amount
	}
	w.addTransaction(t)
	return true
}

func (w *world) addTransaction(t Transaction) {
	w.transactions[t.OrderID] = t
	w.totals[t.Status] = w.totals[t.Status].Plus(t.Amount)
	n := t.ProcessedAt.Unix() / 60
	m := w.minutes[n]
	w.minutes[n] = Minute{n, m.Count + 1, m.Amount + t.Amount}
}

// settle lets everything that is under way end.
func (w *world) settle() {
	for p := range int32(banking.Partitions) {
		for w.decide(p) {
		}
	}
	w.flush()
	w.mark()
	for p := range int32(banking.Partitions) {
		for w.bind(p) {
		}
	}
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
			for w.tally(record.Partition{Topic: topic, ID: p}) {
			}
		}
	}
}

// stored is what the services have stored at a moment.
type stored struct {
	State
	ledger       []LedgerRow
	pending      []record.Record
	views        []View
	transactions []Transaction
	minutes      []Minute
}

// state is a copy of what the services have stored.
func (w *world) state() stored {
	return stored{
		State: State{
			Paiement: &Paiement{maps.Clone(w.paiement), w.decidesFrom}, Suivi: &Suivi{maps.Clone(w.suivi), maps.Clone(w.counts)},
			Analyseur: &Analyseur{maps.Clone(w.analyseur), maps.Clone(w.totals)},
		},
		ledger: slices.Collect(maps.Values(w.ledger)), pending: slices.Clone(w.pending), views: slices.Collect(maps.Values(w.views)),
		transactions: slices.Collect(maps.Values(w.transactions)), minutes: slices.Collect(maps.Values(w.minutes)),
	}
}

// give gives the rows of the services that are looked at.
func (s stored) give(rows *Rows) error {
	var err error
	if s.Paiement != nil {
		err = errors.Join(each(s.ledger, rows.Ledger), each(s.pending, rows.Pending))
	}
	if s.Suivi != nil {
		err = errors.Join(err, each(s.views, rows.View))
	}
	if s.Analyseur != nil {
		err = errors.Join(err, each(s.transactions, rows.Transaction), each(s.minutes, rows.Minute))
	}
	return err
}

func each[T any](all []T, give func(T) error) (err error) {
	for _, one := range all {
		err = errors.Join(err, give(one))
	}
	return err
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

func reconcileWith(w *world, s stored) Report { return reconcileAfter(w, w.spans(topics()...), s, 0) }

// reconcileAfter reconciles those spans of the world with a state that may lack
// what was decided before the retention.
func reconcileAfter(w *world, spans []kafka.Span, s stored, retention time.Duration) Report {
	cfg := Config{Limit: math.MaxInt}
	a := New(cfg)
	a.log.extents.extend(spans, spans, w.now)
	rows, differences := newRows(cfg, a.decoder), extsort.New("", small)
	if err := errors.Join(w.scan(spans, a.log.add), s.give(rows)); err != nil {
		panic(err)
	}
	r := &reconciliation{
		log: a.log, rows: rows, state: s.State, differences: differences, forgotten: a.log.extents.forgotten(retention),
	}
	err := r.reconcile(context.Background())
	if err == nil {
		err = a.conclude(context.Background(), &r.report, differences)
	}
	if err = errors.Join(err, a.Close(), closeAll(append(rows.sorters(), differences))); err != nil {
		panic(err)
	}
	return r.report
}

// cutLog has retention remove the first n records of a partition.
func (w *world) cutLog(p record.Partition, n int) {
	w.log[p], w.start[p] = w.log[p][n:], w.start[p]+int64(n)
}
