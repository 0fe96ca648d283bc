package journeys

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/internal/testenv/checks"
	"github.com/vigie-dev/vigie/internal/testenv/leaks"
	testpostgres "github.com/vigie-dev/vigie/internal/testenv/postgres"
	"github.com/vigie-dev/vigie/telemetry/telemetrytest"
)

// postgres is the server of all tests here, where there is one.
var postgres testpostgres.Shared

func TestMain(m *testing.M) {
	checks.Set("20", "100")
	leaks.Main(postgres.Around(m))
}

// world is the bank's topics, those who read them, and a ledger.
type world struct {
	t testing.TB
	*hands
	*telemetrytest.Recorder
	store         *storage.Store
	ledger        *Ledger
	log           map[record.Partition][]record.Record
	shown, passed map[record.Partition]int64
	letters       []record.Place
	away          error // the brokers'
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	own, err := fs.Sub(Migrations(), "migrations")
	if err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(t.Context(), url, "sentinelle", own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return worldOn(t, store)
}

// worldOn is a world in which nothing has happened.
func worldOn(t testing.TB, store *storage.Store) *world {
	t.Helper()
	w := &world{t: t, hands: newHands(), store: store, log: map[record.Partition][]record.Record{}, shown: map[record.Partition]int64{}, passed: map[record.Partition]int64{}}
	err := store.Update(t.Context(), func(tx *storage.Tx) error {
		for _, query := range []string{"DELETE FROM journeys", "DELETE FROM letters", "DELETE FROM copies", "DELETE FROM positions", "UPDATE outcomes SET value = 0"} {
			if _, err := tx.Exec(t.Context(), query); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range banking.ReadBy(banking.GroupSentinelle) {
		for id := range int32(2) {
			p := record.Partition{Topic: topic, ID: id}
			w.log[p] = nil
			if err := w.store.StartAt(t.Context(), p, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.restart()
	return w
}

// restart has another process go on with the storage.
func (w *world) restart() {
	w.t.Helper()
	w.Recorder = telemetrytest.New(w.t, "sentinelle", Catalogue())
	var err error
	w.ledger, err = Open(w.t.Context(), Config{Store: w.store, Telemetry: w.Telemetry, Clocks: w.clocks, Log: w.Logger()})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) Ends(context.Context, ...string) (map[record.Partition]int64, error) {
	ends := map[record.Partition]int64{}
	for p, records := range w.log {
		ends[p] = int64(len(records))
	}
	return ends, w.away
}

func (w *world) Committed(_ context.Context, group string, topics ...string) (map[record.Partition]int64, error) {
	of := w.shown
	if group == banking.GroupPaiement {
		of = w.passed
	}
	out := map[record.Partition]int64{}
	for p, next := range of {
		if slices.Contains(topics, p.Topic) {
			out[p] = next
		}
	}
	return out, w.away
}

func (w *world) Holds(context.Context, kafka.Span) (bool, error) { return true, nil }

// write appends a record to the partition of its key.
func (w *world) write(m record.Message) record.Place {
	p := record.Partition{Topic: m.Topic, ID: int32(digest(string(m.Key)) >> 1 & 1)}
	r := record.Record{Place: record.Place{Partition: p, Offset: int64(len(w.log[p]))}, Key: m.Key, Value: m.Value, Headers: m.Headers, Time: w.now.Wall}
	w.log[p] = append(w.log[p], r)
	return r.Place
}

func (w *world) event(e banking.Event, cause string) record.Place {
	w.t.Helper()
	m, err := delivery.Encode(e, cause)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.write(m)
}

func (w *world) create(id, event string) record.Place {
	return w.event(banking.OrderCreated{EventID: event, OrderID: id, UserID: "u", Amount: 100, Items: []string{}, Status: banking.StatusCreated, CreatedAt: w.now.Wall}, "")
}

// decide is the same decision each time, unless another is asked for.
func (w *world) decide(id, event string, other bool) {
	result := banking.ResultEventID(event)
	if other || digest(id)%3 == 0 {
		if other {
			result = "other-" + result
		}
		w.event(banking.PaymentRejected{EventID: result, OrderID: id, UserID: "u", Amount: 100, Status: banking.StatusRejected, RejectionReason: "r", ProcessedAt: w.now.Wall}, event)
		return
	}
	w.event(banking.PaymentAuthorized{EventID: result, OrderID: id, UserID: "u", Amount: 100, Status: banking.StatusAuthorized, AuthorizationCode: "A", ProcessedAt: w.now.Wall}, event)
}

// setAside has paiement set a record aside.
func (w *world) setAside(at record.Place) record.Place {
	r := w.log[at.Partition][at.Offset]
	place := w.write(delivery.Letter(banking.TopicOrdersDLQ, banking.GroupPaiement, r, delivery.Transient(delivery.ReasonAuthoriser, fmt.Errorf("away"))))
	w.letters = append(w.letters, place)
	return place
}

func (w *world) resolve(letter record.Place, resolution string) {
	r := w.log[letter.Partition][letter.Offset]
	m := record.Marker{Letter: letter, Resolution: resolution, At: w.now.Wall}
	if resolution == record.Purged {
		m.EventID = r.Header(record.HeaderOriginalEventID)
	}
	w.write(m.Message(r.Key))
}

// read has the ledger read at most so many records of a partition, in one batch.
func (w *world) read(p record.Partition, most int) {
	w.t.Helper()
	ctx := w.t.Context()
	next, _, err := w.store.Position(ctx, p)
	if err != nil {
		w.t.Fatal(err)
	}
	batch := w.log[p][next:min(len(w.log[p]), int(next)+most)]
	var seen []string
	for i, r := range batch { // each key once
		if slices.Contains(seen, string(r.Key)) {
			batch = batch[:i]
			break
		}
		seen = append(seen, string(r.Key))
	}
	if len(batch) == 0 {
		return
	}
	h := w.ledger.Handler()
	var taken []delivery.Decided[*fact]
	for _, r := range batch {
		f, messages, err := h.Handle(ctx, struct{}{}, r)
		if err != nil || messages != nil {
			w.t.Fatal(messages, err)
		}
		taken = append(taken, delivery.Decided[*fact]{Context: ctx, Record: r, Change: f})
	}
	err = w.store.Update(ctx, func(tx *storage.Tx) error {
		if err := tx.Advance(ctx, p, next, next+int64(len(batch)), time.Time{}); err != nil {
			return err
		}
		return h.Store(ctx, tx, taken)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	h.Stored(taken)
}

func (w *world) readAll() {
	for p, records := range w.log {
		for range records {
			w.read(p, 500)
		}
	}
}

// showAll has suivi show everything, and paiement be done with everything.
func (w *world) showAll() {
	for p, records := range w.log {
		w.shown[p], w.passed[p] = int64(len(records)), int64(len(records))
	}
}

func (w *world) look() {
	w.t.Helper()
	if _, err := w.ledger.round(w.t.Context(), w); err != nil && w.away == nil {
		w.t.Fatal(err)
	}
}

func (w *world) outcome(o Outcome) float64 {
	return w.Metric(JourneysTotal, map[string]string{"outcome": string(o)})
}

// want checks the outcomes, of which those that are not named are zero.
func (w *world) want(what string, want map[Outcome]float64) {
	w.t.Helper()
	for _, o := range Outcomes() {
		if got := w.outcome(o); got != want[o] {
			w.t.Errorf("%s: %s is %v, want %v", what, o, got, want[o])
		}
	}
}

func onEach(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	postgres.OnEach(t, func(t *testing.T, empty func(testing.TB) string) { test(t, newWorld(t, empty(t))) })
}

func TestAnOrderOnItsWay(t *testing.T) { onEach(t, testAnOrderOnItsWay) }

func testAnOrderOnItsWay(t *testing.T, w *world) {
	w.look()
	w.want("at the start", nil)
	if w.Metric(OrdersWaiting, nil) != 0 || w.Series(OrdersWaiting, nil) != 1 {
		t.Error("nothing waits, and that is known")
	}
	w.create("order-1", "e1")
	w.pass(time.Second)
	w.readAll()
	w.look()
	if w.Metric(OrdersWaiting, nil) != 1 || w.Metric(OrdersOldestWaiting, nil) != 1 {
		t.Errorf("%v wait, for %v", w.Metric(OrdersWaiting, nil), w.Metric(OrdersOldestWaiting, nil))
	}
	w.decide("order-1", "e1", false)
	w.pass(time.Second)
	w.readAll()
	w.look()
	w.want("decided", nil)
	if got := w.HistogramSum(DecisionSeconds, nil); got != 1 {
		t.Errorf("decided after %v s", got)
	}
	w.showAll()
	w.pass(time.Second)
	w.look()
	w.want("shown", map[Outcome]float64{InTime: 1})
	if got := w.HistogramSum(VisibleSeconds, nil); got != 3 {
		t.Errorf("shown after %v s", got)
	}
	if w.Metric(OrdersWaiting, nil) != 0 {
		t.Error("nothing waits any more")
	}
	w.restart()
	w.want("after a restart", map[Outcome]float64{InTime: 1})
	w.CheckCatalogue()
}

// Orders that nobody decides count when their time is up, while the outage lasts.
func TestAnOutageCountsWhileItLasts(t *testing.T) { onEach(t, testAnOutageCountsWhileItLasts) }

func testAnOutageCountsWhileItLasts(t *testing.T, w *world) {
	for i := range 3 {
		w.create("order-"+strconv.Itoa(i), "e"+strconv.Itoa(i))
		w.pass(time.Second)
		w.readAll()
		w.look()
	}
	w.want("at first", nil)
	w.pass(2 * time.Second)
	w.look()
	w.want("the first's time is up", map[Outcome]float64{Late: 1})
	w.pass(2 * time.Second)
	w.look()
	w.want("all are late", map[Outcome]float64{Late: 3})
	for i := range 3 {
		w.decide("order-"+strconv.Itoa(i), "e"+strconv.Itoa(i), false)
	}
	w.readAll()
	w.showAll()
	w.pass(time.Second)
	w.look()
	w.want("they end well", map[Outcome]float64{Late: 3})
	if w.Metric(OrdersWaiting, nil) != 0 {
		t.Error("nothing waits any more")
	}
}

// What happened while nobody looked is judged by the records' times.
func TestOrdersOfATimeWhenNobodyLooked(t *testing.T) { onEach(t, testOrdersOfATimeWhenNobodyLooked) }

func testOrdersOfATimeWhenNobodyLooked(t *testing.T, w *world) {
	w.create("in-time", "e1")
	w.pass(time.Second)
	w.decide("in-time", "e1", false)
	w.create("late", "e2")
	w.pass(time.Minute)
	w.decide("late", "e2", false)
	letter := w.setAside(w.create("aside", "e3"))
	w.create("lost", "e4")
	w.pass(time.Hour)
	w.resolve(letter, record.Replayed)
	w.create("aside", "e3")
	w.decide("aside", "e3", false)
	w.create("twice", "e5")
	w.create("twice", "e6")
	w.decide("twice", "e5", false)
	w.pass(time.Hour)
	w.showAll()
	w.restart()
	for range 8 {
		w.pass(time.Second)
		w.readAll()
		w.look()
	}
	w.want("caught up", map[Outcome]float64{InTime: 2, Late: 1, DeadLettered: 1, Contradictory: 1})
	for range 30 {
		w.pass(time.Second)
		w.look()
	}
	w.want("who decides has rested for long", map[Outcome]float64{InTime: 2, Late: 1, DeadLettered: 1, Lost: 1, Contradictory: 1})
	if w.Series(VisibleSeconds, nil) != 0 {
		t.Error("what nobody watched was measured")
	}
}

func TestALostOrderIsKnownBeforeItsTimeIsUp(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir())
	at := w.create("order-1", "e1")
	w.readAll()
	look := func() {
		w.pass(500 * time.Millisecond)
		w.readAll()
		w.look()
	}
	look()
	w.passed[at.Partition] = 1
	look()
	w.want("paiement has committed it, and may have to publish what it decided", nil)
	for n := 2; ; n++ {
		id := "order-" + strconv.Itoa(n)
		next := w.create(id, "e-"+id)
		w.decide(id, "e-"+id, false)
		if next.Partition == at.Partition {
			w.passed[at.Partition]++
			break
		}
	}
	for range 3 {
		look()
	}
	w.want("it has moved on", map[Outcome]float64{Lost: 1})
	w.showAll()
	look()
	if w.Metric(OrdersWaiting, nil) != 0 {
		t.Error("it does not wait")
	}
}

// What was accepted by a clock that was ahead is counted once the clock is right, not only then.
func TestAClockThatWasAhead(t *testing.T) { onEach(t, testAClockThatWasAhead) }

func testAClockThatWasAhead(_ *testing.T, w *world) {
	const far = 400 * 24 * time.Hour
	w.now.Wall = w.now.Wall.Add(far)
	w.restart()
	w.look()
	w.setAside(w.create("order-1", "e1"))
	w.create("order-2", "e2")
	w.readAll()
	w.pass(time.Second)
	w.look()
	w.want("by a clock that is ahead", nil)
	w.now.Wall = w.now.Wall.Add(-far)
	w.restart()
	for range 8 {
		w.pass(time.Second)
		w.look()
	}
	w.want("by the right one", map[Outcome]float64{DeadLettered: 1, Late: 1})
}

func TestLettersThatWait(t *testing.T) { onEach(t, testLettersThatWait) }

func testLettersThatWait(t *testing.T, w *world) {
	waits := func(what string, count, age float64) {
		t.Helper()
		w.readAll()
		w.pass(time.Second)
		w.look()
		labels := map[string]string{"topic": banking.TopicOrdersDLQ, "reason": string(delivery.ReasonAuthoriser)}
		if got := w.Metric(LettersWaiting, labels); got != count || w.Metric(LettersWaiting, nil) != count {
			t.Errorf("%s: %v wait, want %v", what, got, count)
		}
		if got := w.Metric(LettersOldest, nil); got != age {
			t.Errorf("%s: the oldest waits for %v s, want %v", what, got, age)
		}
	}
	waits("none", 0, 0)
	if n := w.Series(LettersWaiting, nil); n != 2*(len(delivery.Reasons())+1) {
		t.Errorf("%d series, want one for each topic and reason", n)
	}
	first := w.create("order-1", "e1")
	letter := w.setAside(first)
	again := w.setAside(first) // a crash has it published again
	waits("one", 1, 1)
	w.setAside(w.create("order-2", "e2"))
	waits("two", 2, 2)
	w.resolve(again, record.Replayed)
	second := w.setAside(w.create("order-1", "e1"))
	waits("replayed, and back", 2, 2)
	w.resolve(second, record.Purged)
	w.resolve(letter, record.Purged)
	waits("purged", 1, 3)
	w.pass(time.Hour)
	waits("order-2 waits", 1, 3604)
	w.want("the journeys", map[Outcome]float64{Purged: 1, DeadLettered: 1})
}

// While it cannot see, it says so, and gives no old value.
func TestWhatCannotBeSeenIsUnknown(t *testing.T) {
	w := newWorld(t, "sqlite:"+t.TempDir())
	w.create("order-1", "e1")
	w.readAll()
	w.pass(time.Second)
	w.look()
	gauges := []string{OrdersWaiting, OrdersOldestWaiting, LettersWaiting, LettersOldest}
	for _, name := range gauges {
		if w.Series(name, nil) == 0 {
			t.Errorf("%s is not known", name)
		}
	}
	w.away = fmt.Errorf("away")
	w.pass(11 * time.Second)
	w.look()
	for _, name := range gauges {
		if w.Series(name, nil) != 0 {
			t.Errorf("%s is given although nothing was seen", name)
		}
	}
	if got := w.Metric(Unseen, nil); got != 11 {
		t.Errorf("unseen for %v s, want 11", got)
	}
	w.want("nothing is judged that cannot be seen", nil)
	w.away = nil
	w.look()
	w.want("seen again", map[Outcome]float64{Late: 1})
	if w.Metric(Unseen, nil) != 0 || w.Series(OrdersWaiting, nil) != 1 {
		t.Error("seen again, and still not known")
	}
	w.create("order-2", "e2") // its own reading is behind
	w.pass(12 * time.Second)
	w.look()
	if w.Series(OrdersWaiting, nil) != 0 || w.Metric(Unseen, nil) != 12 {
		t.Error("behind, and not said")
	}
}

func TestForgetting(t *testing.T) { onEach(t, testForgetting) }

func testForgetting(t *testing.T, w *world) {
	w.create("order-1", "e1")
	w.decide("order-1", "e1", false)
	w.create("order-2", "e2")
	w.resolve(w.setAside(w.create("order-3", "e3")), record.Purged)
	w.setAside(w.create("order-4", "e4"))
	w.readAll()
	w.showAll()
	delete(w.passed, record.Partition{Topic: banking.TopicOrdersCreated, ID: 0})
	delete(w.passed, record.Partition{Topic: banking.TopicOrdersCreated, ID: 1})
	w.pass(10 * time.Second)
	w.look()
	rows := func(table string) (n int) {
		t.Helper()
		if err := w.store.QueryRow(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	forget := func(before time.Time) {
		t.Helper()
		for range 3 { // copies go after their letters
			if err := w.store.Update(t.Context(), func(tx *storage.Tx) error {
				_, err := w.ledger.Forget(t.Context(), tx, before, 100)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	forget(w.now.Wall.Add(-time.Minute))
	if rows("journeys") != 4 || rows("letters") != 2 {
		t.Errorf("%d orders and %d letters are left of 4 and 2", rows("journeys"), rows("letters"))
	}
	forget(w.now.Wall)
	if rows("journeys") != 2 || rows("letters") != 1 || rows("copies") != 1 {
		t.Errorf("%d orders, %d letters, %d copies are left; want those that wait: 2, 1 and 1", rows("journeys"), rows("letters"), rows("copies"))
	}
}

// Every accepted order is counted once, whatever comes in whatever order, and through restarts.
func TestEveryOrderIsCountedOnce(t *testing.T) {
	store := newWorld(t, "sqlite:"+t.TempDir()).store
	rapid.Check(t, func(r *rapid.T) {
		w := worldOn(t, store)
		events := map[string]bool{}
		order := rapid.IntRange(1, 2)
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			id := "order-" + strconv.Itoa(order.Draw(r, "order"))
			event := "e-" + id
			switch rapid.SampledFrom([]string{
				"create", "create", "create again", "other event", "decide", "decide", "decide otherwise", "set aside", "replay", "purge",
				"read", "read", "read", "show", "pass", "pass", "look", "look", "restart",
			}).Draw(r, "step") {
			case "create", "create again":
				w.create(id, event)
				events[id+event] = true
			case "other event":
				w.create(id, "other-"+event)
				events[id+"other-"+event] = true
			case "decide":
				w.decide(id, event, false)
			case "decide otherwise":
				w.decide(id, event, true)
			case "set aside":
				w.setAside(w.create(id, event))
				events[id+event] = true
			case "replay", "purge":
				if len(w.letters) > 0 {
					w.resolve(rapid.SampledFrom(w.letters).Draw(r, "letter"), rapid.SampledFrom([]string{record.Replayed, record.Purged}).Draw(r, "resolution"))
				}
			case "read":
				topic := rapid.SampledFrom(banking.ReadBy(banking.GroupSentinelle)).Draw(r, "topic")
				w.read(record.Partition{Topic: topic, ID: rapid.Int32Range(0, 1).Draw(r, "partition")}, rapid.IntRange(1, 5).Draw(r, "records"))
			case "show":
				w.showAll()
			case "pass":
				w.pass(time.Duration(rapid.IntRange(1, 4000).Draw(r, "ms")) * time.Millisecond)
			case "look":
				before := w.total()
				w.look()
				if got := w.total(); got < before || got > float64(len(events)) {
					r.Fatalf("%v outcomes after %v, of %d orders", got, before, len(events))
				}
			case "restart":
				w.restart()
			}
		}
		w.readAll()
		w.pass(time.Minute)
		w.look()
		w.pass(time.Minute)
		w.look()
		if got := w.total(); got != float64(len(events)) {
			r.Fatalf("%v outcomes, %d orders were accepted", got, len(events))
		}
	})
}

func (w *world) total() (n float64) {
	for _, o := range Outcomes() {
		n += w.outcome(o)
	}
	return n
}
